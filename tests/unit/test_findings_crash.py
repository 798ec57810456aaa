"""The rules of crash causes, on scenes made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gdbext.elf.image import PT_GNU_RELRO, Segment
from gdbext.findings.conflicts.families import Copy, Family
from gdbext.findings.crash.calls import BadCall
from gdbext.findings.crash.crash import CrashFacts, causes_document, find_causes
from gdbext.findings.crash.crashpath import constructor_order, duplicate_runtime, redirected
from gdbext.findings.crash.scene import RULES, Cause, Scene, Stack, Step
from gdbext.findings.crash.structs import Field, Layout, StructUse, struct_mismatch
from gdbext.findings.slots.judgements import Judgement
from gdbext.findings.slots.verdicts import OK, REDIRECTED
from gdbext.findings.slots.writes import JudgedSlot
from gdbext.linker.loaded.modules import LINKER, Module
from gdbext.linker.loaded.private import Private
from gdbext.linker.loaded.tables import Definition
from gdbext.linker.places import Place
from gdbext.linker.process.process import Region
from gdbext.linker.threads.threads import Thread
from gdbext.linker.unloaded.unloaded import EVENTS, MEMORY, Ghost, Unloaded
from tests.unit import got_process

SPACE, LINKED = got_process.places()
USER, OWN = LINKED.modules[1:3]
SLOT = next(s for s in SPACE.slots(USER) if s.symbol == "function")
CODE = Place(USER.bias + 0x500, "module", USER, Segment(1, 5, 0, 0, 0, 0, 0, 0))
GONE = Unloaded("/lib/gone.so", 0x7000_0000_0000, 0x7000_0000_4000, None, EVENTS)
CALL = BadCall(USER.bias + 0x520, USER, SLOT, USER)
POINTER = BadCall(USER.bias + 0x520, USER, None, None)


def scene(site: Place = CODE, **changes: Any) -> Scene:  # noqa: ANN401
    made = Scene("SIGSEGV", False, None, site, 0x1000, None, (), lambda _: None, str)
    return replace(made, **changes)


def ghost(offset: int, name: str | None = "work", within: int = 0, **how: Any) -> Place:  # noqa: ANN401
    definition = Definition(name, within) if name else None
    found = Ghost(GONE._replace(**how), offset, definition)
    return Place(GONE.start + offset, "unloaded", definition=definition, ghost=found)


def the(facts: CrashFacts) -> tuple[str, str]:
    assert len(facts.causes) == 1, facts
    assert facts.cause is not None
    return facts.cause.rule, facts.cause.text


def test_a_plain_null_dereference_has_no_cause() -> None:
    assert find_causes(scene(fault=Place(0x10, "null"))).cause is None
    assert find_causes(scene(fault=Place(0x7777_0000_0000, "unmapped"))).cause is None
    assert find_causes(scene(Place(0, "null"), fault=Place(0, "null"), call=POINTER)).causes == ()


def test_null_and_wild_slots() -> None:
    null = CALL._replace(slot=SLOT._replace(value=0))
    judged = JudgedSlot(USER, SLOT, Judgement(OK, None, "nobody defines it"))
    facts = find_causes(scene(Place(0, "null"), call=null, judge=lambda _: judged))
    assert the(facts) == (
        "null_slot", "user.so called function, whose GOT slot is null: nobody defines it",
    )  # fmt: skip
    wild = CALL._replace(slot=SLOT._replace(value=0x1BAD))
    rule, text = the(find_causes(scene(Place(0x1BAD_0000_0000, "unmapped"), call=wild)))
    assert rule == "wild_slot"
    assert "user.so called function, whose GOT slot holds 0x1bad" in text


def test_unloaded_code() -> None:
    assert the(find_causes(scene(ghost(0x100), call=POINTER))) == (
        "call_into_unloaded", "user.so called work of gone.so, which was unloaded",
    )  # fmt: skip
    by_slot = find_causes(scene(ghost(0x100), call=CALL))
    assert "through the GOT slot of function" in the(by_slot)[1]
    assert the(find_causes(scene(ghost(0x104, within=4)))) == (
        "in_unloaded", "the thread was still in work of gone.so when that was unloaded",
    )  # fmt: skip
    assert the(find_causes(scene(ghost(0x100), handled="SIGUSR1"))) == (
        "call_into_unloaded", "the handler of SIGUSR1 was work of gone.so, which was unloaded",
    )  # fmt: skip
    unnamed = find_causes(scene(ghost(0x100, None), handled="SIGUSR1"))
    assert the(unnamed)[1] == "the handler of SIGUSR1 was in gone.so, which was unloaded"
    nameless = find_causes(scene(ghost(0x104, None)))
    assert the(nameless)[1] == "the thread ran into code of gone.so, which was unloaded"
    probable = find_causes(scene(ghost(0x100, evidence=MEMORY), call=POINTER))
    assert "gone.so (probable)" in the(probable)[1]
    assert "probable, not certain" in probable.causes[0].evidence[1]


def test_unloaded_data() -> None:
    rule, text = the(find_causes(scene(fault=ghost(0x3000, "table"))))
    assert (rule, text) == ("unloaded_data", "user.so used table of gone.so, which was unloaded")


def written(flags: int, access: int | None, relro: bool = False) -> Scene:
    segment = Segment(1, flags, 0, 0, 0, 0, 0x1000, 0)
    assert USER.image is not None
    others = tuple(s for s in USER.image.segments if s.type != PT_GNU_RELRO)
    guard = (Segment(PT_GNU_RELRO, 4, 0, 0x700, 0, 0, 0x100, 0),) if relro else ()
    module = replace(USER, image=replace(USER.image, segments=(*others, *guard)))
    region = Region(0, 1, access, 0, None, None) if access is not None else None
    fault = Place(module.bias + 0x710, "module", module, segment, region=region)
    return scene(fault=fault)


def test_writes() -> None:
    assert the(find_causes(written(4, 4)))[0] == "write_to_read_only"
    assert the(find_causes(written(5, None)))[0] == "write_to_read_only"
    assert the(find_causes(written(6, 4, relro=True)))[0] == "write_to_relro"
    assert the(find_causes(written(6, None, relro=True)))[0] == "write_to_relro"
    assert find_causes(written(6, 6, relro=True)).causes == ()  # that can be written
    assert find_causes(written(6, None)).causes == ()
    assert find_causes(written(4, 0)).causes == ()  # nor may it be read
    bus = replace(written(4, 4), signal="SIGBUS")
    assert find_causes(bus).causes == ()


def test_stack_overflow() -> None:
    thread = Thread(3, 33, 0x1000, None)
    region = Region(0x2000, 0x9000, 6, 0, "[stack]", None)
    fault = Place(0xFF8, "below-stack", thread=thread, region=region)
    steps = tuple(Step(i, CODE, "descend", None, None) for i in range(10))
    rule, text = the(find_causes(scene(fault=fault, steps=steps)))
    assert rule == "stack_overflow"
    assert text == "the stack of thread 3 overflowed: descend of user.so calls itself without end"
    assert the(find_causes(scene(fault=fault, steps=steps[:3])))[1].endswith("overflowed")
    far = scene(fault=fault, stack_pointer=0x900_0000)
    assert find_causes(far).causes == ()  # a wild pointer that lies below a stack by chance
    # several functions, in two modules
    there = CODE._replace(module=OWN)
    both = tuple(
        Step(i, (CODE, there)[i % 2], ("ping", "pong")[i % 2], None, None) for i in range(9)
    )
    assert the(find_causes(scene(fault=fault, steps=both)))[1] == (
        "the stack of thread 3 overflowed: "
        "ping of user.so and pong of own.so call each other without end"
    )


def test_one_frame_that_is_larger_than_the_stack() -> None:
    """SP is far below the stack, and the caller's is on it."""
    steps = tuple(
        Step(i, CODE, name, None, None) for i, name in enumerate(("memset", "big", "run"))
    )
    end = Place(0x1000_0000, "unmapped")
    large = scene(
        fault=Place(0x1000_0010, "unmapped"),
        steps=steps,
        stack_pointer=0x1000_0000,
        stack=Stack(1, end, 0x1400_0000, 2),
    )
    assert the(find_causes(large)) == (
        "stack_overflow",
        "the stack of thread 2 overflowed: big in user.so takes 67108864 bytes of it at once",
    )
    elsewhere = replace(large, fault=Place(0x7777_0000_0000, "unmapped"))
    assert find_causes(elsewhere).causes == ()
    on_it = Stack(0, Place(0x13FF_F000, "stack"), 0x1400_0000, 2)
    assert find_causes(replace(large, stack=on_it)).causes == ()


@pytest.mark.parametrize(
    ("place", "fires"),
    [
        (Place(1, "module", USER, Segment(1, 6, 0, 0, 0, 0, 0, 0)), True),
        (Place(1, "heap", region=Region(0, 9, 6, 0, "[heap]", None)), True),
        (Place(1, "stack"), True),
        (Place(1, "anonymous", region=Region(0, 9, 7, 0, None, None)), False),
        (Place(1, "unknown"), False),
        (Place(1, "unmapped"), False),
        (CODE, False),
    ],
)
def test_execution_of_data(place: Place, fires: bool) -> None:
    found = [c.rule for c in find_causes(scene(place)).causes]
    assert found == (["execution_of_data"] if fires else [])


def test_signals_that_a_program_sent() -> None:
    """No instruction faulted; only the way to an abort() is looked at."""
    on_the_way = [lambda _: iter([Cause("slot_redirected", "x", ())])]
    sent = scene(ghost(0x100), call=POINTER, sent=True)
    assert find_causes(sent, on_the_way).causes == ()
    assert the(find_causes(replace(sent, signal="SIGABRT"), on_the_way))[0] == "slot_redirected"
    assert find_causes(replace(sent, signal="SIGABRT")).causes == ()


def test_order_and_document() -> None:
    rules = [lambda _, r=rule: iter([Cause(r, r, ("e",))]) for rule in reversed(RULES)]
    facts = find_causes(scene(), rules)
    assert [c.rule for c in facts.causes] == list(RULES)
    document = causes_document(facts)
    assert document["cause"] == {"rule": RULES[0], "text": RULES[0], "evidence": ["e"]}
    assert document["causes"][0] == document["cause"]
    assert causes_document(CrashFacts(())) == {"cause": None, "causes": []}


def path(*modules: Module, slot: bool = False) -> tuple[Step, ...]:
    found = SLOT if slot else None
    return tuple(
        Step(i, CODE._replace(module=m, definition=Definition(f"f{i}", 1)), None, found, USER)
        for i, m in enumerate(modules)
    )


def test_redirected() -> None:
    wrong = JudgedSlot(USER, SLOT, Judgement(REDIRECTED, LINKED.modules[0], "why"))
    steps = path(OWN, USER, slot=True)
    facts = find_causes(scene(steps=steps, judge=lambda _: wrong), [redirected])
    rule, text = the(facts)
    assert rule == "slot_redirected"
    assert text.startswith(
        "user.so's call of function was redirected to function in own.so instead of "
    )
    right = JudgedSlot(USER, SLOT, Judgement(OK, OWN, None))
    assert find_causes(scene(steps=steps, judge=lambda _: right), [redirected]).causes == ()
    assert find_causes(scene(steps=path(OWN, USER)), [redirected]).causes == ()


def marked(module: Module, called: bool | None, kind: str | None = None) -> Module:
    blank: Sequence[Any] = [None] * len(Private._fields)
    private = Private(*blank)._replace(init_called=called)
    return replace(module, private=private, kind=kind or module.kind)


def test_constructor_order() -> None:
    user, loader = marked(USER, True), marked(LINKED.modules[0], True, LINKER)
    early, ready, unknown = (marked(OWN, called) for called in (False, True, None))
    order = constructor_order([early, user], lambda _: True)
    rule, text = the(find_causes(scene(steps=path(early, early, user, loader)), [order]))
    assert rule == "constructor_order"
    assert text == (
        "the constructor f2 in user.so called f1 in own.so, whose own constructors have not run yet"
    )
    for other in (ready, unknown, user):
        assert find_causes(scene(steps=path(other, user, loader)), [order]).causes == ()
    # ld.so calls it before any constructor: an IFUNC's resolver
    resolver = path(marked(USER, False), loader, user)
    assert find_causes(scene(steps=resolver), [order]).causes == ()
    # dlclose runs destructors below libc's _dl_catch_exception
    libc = marked(LINKED.modules[0], True)
    libc.__dict__["_strings"] = ("libc.so.6", ())
    closing = path(early, loader, libc, loader)
    assert find_causes(scene(steps=closing), [order]).causes == ()


def test_a_constructor_that_left_by_a_tail_call() -> None:
    early, loader = marked(OWN, False), marked(LINKED.modules[0], True, LINKER)
    order = constructor_order([early], lambda _: True)
    assert the(find_causes(scene(steps=path(early, loader, loader)), [order]))[1] == (
        "a constructor called f0 in own.so, whose own constructors have not run yet"
    )
    assert find_causes(scene(steps=path(early, loader, USER)), [order]).causes == ()  # it binds
    none = constructor_order([early], lambda _: False)
    assert find_causes(scene(steps=path(early, loader)), [none]).causes == ()
    assert early.private is not None
    mapped = replace(early, private=early.private._replace(relocated=False))
    relocating = constructor_order([early, mapped], lambda _: True)
    assert find_causes(scene(steps=path(early, loader)), [relocating]).causes == ()


def layout(module: Module, size: int, *fields: tuple[str, int, int, str]) -> Layout:
    return Layout(module, size, tuple(Field(*field) for field in fields))


NAME, SIZE = ("name", 0, 64, "pointer"), ("size", 64, 64, "number")
TAKER = layout(USER, 16, NAME, SIZE)


@pytest.mark.parametrize(
    ("giver", "told"),
    [
        (layout(OWN, 24, NAME, ("log", 64, 64, "pointer"), ("size", 128, 64, "number")),
         "16 and 24 bytes"),
        (layout(OWN, 16, ("size", 0, 64, "number"), ("name", 64, 64, "pointer")),
         "name is at byte 0 and at byte 8"),
        (layout(OWN, 16, NAME, ("size", 64, 32, "number")),
         "size at byte 8 has 8 bytes and 4 bytes"),
        (layout(OWN, 16, NAME, ("size", 64, 64, "real")), "size at byte 8 is a number and a real"),
        (layout(OWN, 16, NAME, ("size", 67, 5, "number")), "size is at byte 8 and at byte 8 bit 3"),
        (layout(OWN, 16, NAME), "only one has size, at byte 8"),
        (layout(OWN, 8, NAME), "16 and 8 bytes"),
        (layout(OWN, 16, NAME, SIZE), None),
        (layout(OWN, 16, NAME, ("count", 64, 64, "number")), None),  # it has another name there
        (layout(OWN, 24, NAME, SIZE, ("added", 128, 64, "number")), None),  # which nobody looks at
    ],
)  # fmt: skip
def test_struct_mismatch(giver: Layout, told: str | None) -> None:
    uses = [StructUse("settings", 0, 1, (TAKER, giver))]
    found = find_causes(scene(), [struct_mismatch(lambda: uses)])
    if told is None:
        assert found.causes == ()
    else:
        text = f"user.so and own.so have different layouts of settings: {told}"
        assert the(found) == ("struct_mismatch", text)


def test_duplicate_runtime() -> None:
    family = Family("zlib", 0, [Copy(USER, ("inflateInit2_",)), Copy(OWN, ("inflateInit2_",))])
    rule = duplicate_runtime(lambda _: [family])
    assert the(find_causes(scene(steps=path(USER, OWN)), [rule])) == (
        "duplicate_runtime", "two copies of zlib are on the way to the crash: user.so and own.so",
    )  # fmt: skip
    assert find_causes(scene(steps=path(USER, USER)), [rule]).causes == ()
    assert find_causes(scene(steps=path(USER, LINKED.modules[0])), [rule]).causes == ()
