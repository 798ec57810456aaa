"""What a trace comes to, over made-up events."""

from __future__ import annotations

from gdbext.findings.tracing.events import Event, Spot, Stay, call_text
from gdbext.findings.tracing.lifetimes import Count, summarize

A, B = "/lib/liba.so", "/lib/libb.so"


def event(number: int, kind: str, **fields: object) -> Event:
    plain = Event(number, None, kind, 100, 1, 100, float(number), ended="returned", duration=0.5)
    return plain._replace(**fields)  # type: ignore[arg-type]


def opened(number: int, path: str, handle: int, **fields: object) -> Event:
    return event(number, "dlopen", path=path, module=path, handle=handle, result=handle, **fields)


def closed(number: int, path: str, handle: int, **fields: object) -> Event:
    return event(number, "dlclose", module=path, handle=handle, result=0, **fields)


def test_what_leaks_and_what_was_dropped() -> None:
    failed = event(3, "dlopen", path="libno.so", failed=True, result=0)
    events = [opened(1, A, 16), opened(2, B, 32), failed, closed(4, A, 16)]
    summary = summarize(events, {B: Count(5, 4, 1)})
    assert summary.counts == {B: Count(6, 4, 1), A: Count(1, 1, 0), "libno.so": Count(0, 0, 1)}
    assert summary.leaks == (B,)
    assert summary.counts[B].unclosed == 2
    # more closes than opens: it was open when the trace began
    assert summarize([closed(1, A, 16)], {}).leaks == ()


def test_a_failed_dlclose_is_no_close() -> None:
    wrong = closed(2, A, 16, failed=True)._replace(result=0xFFFFFFFF)
    assert summarize([opened(1, A, 16), wrong], {}).leaks == (A,)


def test_what_stayed_until_it_went() -> None:
    why = (Stay("needed", "libb.so needs it"),)
    events = [opened(1, A, 16), closed(2, A, 16, stays=why)]
    (stayed,) = summarize(events, {}).stayed
    assert (stayed.path, stayed.event, stayed.reasons) == (A, 2, why)
    gone = closed(3, B, 32, unloaded=(B, A))
    assert summarize([*events, gone], {}).stayed == ()
    assert summarize([*events, opened(3, A, 16)], {}).stayed == ()
    other = closed(3, B, 32, unloaded=(B, A), pid=200)
    assert len(summarize([*events, other], {}).stayed) == 1, "another process's library"


def test_a_close_inside_another_stays_until_that_ends() -> None:
    inner = closed(3, A, 16, parent=2, stays=(Stay("closing", "later"),))
    outer = closed(2, B, 32, duration=5.0, unloaded=(B, A))
    assert summarize([opened(1, A, 16), outer, inner], {}).stayed == ()
    (stayed,) = summarize([opened(1, A, 16), outer._replace(unloaded=(B,)), inner], {}).stayed
    assert stayed.path == A


def test_threads_of_an_open_and_who_made_them() -> None:
    begin, work = Spot(0x1000, A, 0, None, "begin"), Spot(0x2000, A, 0, None, "work")
    events = [
        opened(1, A, 16, threads=(1, 3), started=(7, 8)),
        event(2, "constructor", module=A, parent=1, threads=(1, None), started=(7, 8)),
        event(3, "pthread_create", parent=2, caller=begin, function=work),
        opened(4, B, 32, threads=(3, 3)),
        closed(5, A, 16, threads=(3, 2)),
    ]
    summary = summarize(events, {})
    (started,) = summary.started
    assert (started.event, started.before, started.after) == (1, 1, 3)
    assert (started.lwps, started.makers) == ((7, 8), ((begin, work),))
    (pair,) = summary.pairs
    assert (pair.opened, pair.closed, pair.before, pair.after) == (1, 5, 1, 2)


def test_slowest_first_and_parents_that_make_no_sense() -> None:
    events = [opened(n, A, 16, duration=n / 10, parent=n) for n in range(1, 9)]
    assert [e.id for e in summarize(events, {}).slowest] == [8, 7, 6, 5, 4]
    loop = event(1, "pthread_create", parent=2)
    assert summarize([loop, opened(2, A, 16, parent=1)], {}).started == ()


def test_calls_as_c_has_them() -> None:
    assert call_text(event(1, "dlopen", path="l.so", mode=0x102)) == (
        'dlopen("l.so", RTLD_NOW | RTLD_GLOBAL)'
    )
    assert (
        call_text(event(1, "dlopen", path=None, mode=1)) == "dlopen(NULL, RTLD_LAZY | RTLD_LOCAL)"
    )
    assert call_text(event(1, "dlmopen", path="l.so", mode=2, namespace=-1)).startswith(
        'dlmopen(LM_ID_NEWLM, "l.so", '
    )
    assert call_text(event(1, "dlsym", path="f", handle=2**64 - 1)) == 'dlsym(RTLD_NEXT, "f")'
    assert call_text(event(1, "dlsym", path="f", handle=0)) == 'dlsym(RTLD_DEFAULT, "f")'
    assert call_text(event(1, "dlclose", handle=0x10)) == "dlclose(0x10)"
    assert call_text(event(1, "dlclose", handle=0x10, module=A)) == "dlclose(liba.so)"
