"""LD_DEBUG=bindings as the judge of plug-got: what ld.so itself bound, compared slot by slot.

`python -m tests.bindings -- PROGRAM ARGUMENTS` judges a program by hand; see judge_program.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gdbext.render.printable import shown
from tests.files import local
from tests.references import Key, dynamic_symbols, eager_classes, lookup_class, types_of

Document = dict[str, Any]
File = tuple[int, str]  # (namespace, l_name), as ld.so has them; the program's name is argv[0]
Found = dict[File, dict[Key, list[File]]]  # who bound what to whom, each in the log's order

# ---------------------------------------------------------------------------------- the log

# glibc, elf/dl-lookup.c, _dl_debug_bindings: one text since 2.2, the version by a second call.
BINDING = re.compile(
    r"binding file (?P<file>.*?) \[(?P<namespace>\d+)\] to (?P<target>.*?) \[(?P<into>\d+)\]: "
    r"(?P<how>normal|protected) symbol `(?P<symbol>.*?)'(?: \[(?P<version>[^\n]*)\])?"
    r"(?P<more>\n .*)?\n*\Z",
    re.DOTALL,  # a path can hold a newline
)
# elf/dl-close.c, _dl_close_worker (files); it is said of what a failed dlopen mapped as well.
UNLOADED = re.compile(r"file=(?P<file>.*?) \[(?P<namespace>\d+)\];  destroying link map", re.DOTALL)
# The version is written by a second call: where two threads or processes write at once, it can
# stand at the end of somebody else's line. Such a line is torn: its version is not known.
ANY = "*"
START_OF_RECORD = re.compile(r"(?:^|(?<='))[ ]*(\d+):\t", re.MULTILINE)


@dataclass(frozen=True)
class Bindings:
    """What ld.so bound, in its order, for every object that is still loaded."""

    found: Found
    # By other processes in the same log: a child of vfork binds its parent's slots, one of fork
    # its own, and the log does not tell them apart. Version ANY: of torn lines.
    others: Found
    lines: int  # of the whole log, without those of others
    protected: int  # of these, those of protected symbols
    unloaded: int  # of these, those by objects that are gone


def parse_bindings(text: str, pids: Collection[int] | None = None) -> Bindings:
    """What LD_DEBUG=bindings,files wrote; of several processes PIDS are the ones to judge.

    What an object bound is forgotten when it is unloaded: the same path may be loaded again."""
    found: Found = {}
    others: Found = {}
    lines = protected = unloaded = 0
    torn = False
    records = iter(START_OF_RECORD.split(text)[1:])
    for pid, record in zip(records, records):
        own = pids is None or int(pid) in pids
        torn_before, torn = torn, not record.endswith("\n")
        if record.startswith("binding file "):
            match = BINDING.match(record)
            assert match, f"no line of LD_DEBUG=bindings: {record!r}"
            lines += own
            protected += own and match["how"] == "protected"
            known = not (torn or torn_before or match["more"])
            into = found if own and known else others
            bound = into.setdefault((int(match["namespace"]), match["file"]), {})
            version = (match["version"] or "") if known else ANY
            bound.setdefault((match["symbol"], version), []).append(
                (int(match["into"]), match["target"])
            )
        elif own and (gone := UNLOADED.search(record)) is not None:
            lost = found.pop((int(gone["namespace"]), gone["file"]), {})
            unloaded += sum(map(len, lost.values()))
    return Bindings(found, others, lines, protected, unloaded)


def read_bindings(output: Path, pids: Collection[int] | None = None) -> Bindings:
    """What LD_DEBUG_OUTPUT=OUTPUT left in OUTPUT.PID, which must be one file."""
    written = list(output.parent.glob(f"{output.name}.*"))
    assert len(written) == 1, f"LD_DEBUG_OUTPUT left {written}"
    return parse_bindings(written[0].read_text(errors="surrogateescape"), pids)


# ------------------------------------------------------------------------------------ judging


@dataclass
class Judgement:
    """How plug-got and the log agree. COMPARED slots are AGREED ones and DISAGREEMENTS."""

    bindings: int
    unloaded: int
    compared: int = 0
    agreed: int = 0
    logged: int = 0  # compared slots that have a line in the log
    disagreements: list[str] = field(default_factory=list)
    unverified: Counter[str] = field(default_factory=Counter)  # reason to slots, not compared
    unlogged: Counter[str] = field(default_factory=Counter)  # why slots have no line in the log
    unmatched: Counter[str] = field(default_factory=Counter)  # why bindings have no slot
    verdicts: Counter[str] = field(default_factory=Counter)
    alarms: list[str] = field(default_factory=list)  # slots with a verdict other than ok

    def __str__(self) -> str:
        def counts(of: Counter[str]) -> str:
            return ", ".join(f"{number} {what}" for what, number in of.most_common()) or "none"

        return "\n".join(
            [
                f"log: {self.bindings} bindings, {self.unloaded} of them by unloaded objects",
                f"slots: {self.compared} compared, {self.agreed} agreed, "
                f"{len(self.disagreements)} disagreed; {self.logged} have a line in the log",
                f"verdicts: {counts(self.verdicts)}",
                f"not verified: {counts(self.unverified)}",
                f"slots without a line: {counts(self.unlogged)}",
                f"bindings without a slot: {counts(self.unmatched)}",
                *(f"  {line}" for line in self.alarms),
                *(f"DISAGREES: {line}" for line in self.disagreements),
            ]
        )


class _Judge:
    def __init__(self, got: Document, links: Document, log: Bindings, arm64: bool) -> None:
        self.got = got
        self.arm64 = arm64
        self.modules: dict[File, Document] = {
            (namespace["index"], module["path"]): module
            for namespace in links["namespaces"]
            for module in namespace["modules"]
        }
        self.paths: dict[File, str] = {
            (index, m["name"]): path for (index, path), m in self.modules.items()
        }
        self.main: str = links["namespaces"][0]["modules"][0]["path"]
        self.bound = self.by_path(log.found)
        self.others = self.by_path(log.others)
        self.result = Judgement(log.lines, log.unloaded)

    def by_path(self, found: Found) -> dict[File, dict[Key, list[str]]]:
        """The same with paths instead of names."""
        bound: dict[File, dict[Key, list[str]]] = {}
        for (namespace, name), symbols in found.items():
            keys = bound.setdefault((namespace, self.path((namespace, name))), {})
            for (symbol, version), targets in symbols.items():
                paths = keys.setdefault((shown(symbol), shown(version)), [])
                paths += map(self.path, targets)
        return bound

    def path(self, file: File) -> str:
        """Only the program's name is none of the chain's: it is argv[0], which it may rewrite."""
        name = shown(file[1])
        return self.paths.get((file[0], name), name if file[0] else self.main)

    def file(self, module: File) -> Path | None:
        path = local(module[1], self.arm64)
        return path if path.is_file() else None

    def judge(self) -> Judgement:
        for module in self.got["modules"]:
            here = module["namespace"], module["path"]
            bound = self.bound.get(here, {})
            matched = set()
            for slot in module["slots"]:
                self.result.verdicts[slot["verdict"]] += 1
                if slot["verdict"] != "ok" and slot["verdict"] != "unverified":
                    self.result.alarms.append(f"{slot['verdict']}: {describe(here, slot)}")
                if slot["symbol"] is None:
                    self.result.unlogged["that have no symbol"] += 1
                    continue
                key = slot["symbol"], slot["version"] or ""
                matched.add(key)
                self.slot(here, slot, key, bound.get(key))
            self.unmatched(here, bound, matched)
        return self.result

    def slot(self, here: File, slot: Document, key: Key, winners: list[str] | None) -> None:
        if slot["state"] == "lazy":
            self.result.unlogged["that are lazy"] += 1
            return
        wanted: set[str | None]
        if not winners:
            others = self.others.get(here, {})
            winners = others.get((key[0], ANY))
            if "JUMP_SLO" in slot["type"]:
                winners = others.get(key) or winners
            if winners:
                self.result.unlogged["that another process bound (vfork) or a torn line"] += 1
        if winners:
            wanted = set(winners)
            if len(wanted) > 1:
                wanted = set(self.narrowed(here, slot, key, winners))
        else:
            why, own = self.without_line(here, slot, key)
            self.result.unlogged[why] += 1
            if own is Ellipsis:
                self.disagree(here, slot, f"no line in the log, and {why}")
                return
            wanted = {own}
        if slot["verdict"] == "unverified" and slot["expected"] is None:
            self.result.unverified[slot["reason"]] += 1
            return
        self.result.logged += bool(winners)
        if slot["verdict"] == "stale":
            # The log tells how it was bound, not what a lookup would find now.
            right = slot["provider"] in wanted and slot["expected"] not in wanted
        else:
            right = slot["expected"] in wanted
        if right:
            self.result.compared += 1
            self.result.agreed += 1
        else:
            self.disagree(here, slot, f"ld.so says {' or '.join(map(str, wanted))}")

    def disagree(self, here: File, slot: Document, why: str) -> None:
        self.result.compared += 1
        self.result.disagreements.append(f"{describe(here, slot)}: {why}")

    def narrowed(self, here: File, slot: Document, key: Key, winners: list[str]) -> list[str]:
        """Those of several winners that a slot of this type can have got."""
        file = self.file(here)
        now = self.modules[here]["binding"] == "now"
        classes = eager_classes(file, key, now) if file else []
        if not classes or len(winners) < len(classes):
            return winners
        if "JUMP_SLO" in slot["type"] and not now:  # bound by a call, later
            return winners[len(classes) :] or winners
        mine = lookup_class(slot["type"])
        return [winner for winner, one in zip(winners, classes) if one == mine] or winners

    def without_line(self, here: File, slot: Document, key: Key) -> tuple[str, Any]:
        """(why ld.so looked nothing up or found nothing, what the slot then leads to)."""
        file = self.file(here)
        if file is None:
            return "whose file is gone", slot["expected"]
        symbols = dynamic_symbols(file)
        symbol = symbols.get(key) or symbols.get((key[0], ""))
        if symbol is None:
            return "its file has no such symbol", ...
        # elf/dl-reloc.c, RESOLVE_MAP; elf/dl-runtime.c, _dl_fixup, for protected ones.
        if symbol.section != "UND" and (
            symbol.bind == "LOCAL"
            or symbol.visibility in ("HIDDEN", "INTERNAL")
            or (symbol.visibility == "PROTECTED" and "JUMP_SLO" in slot["type"])
        ):
            return "that are local", here[1]
        if symbol.bind == "WEAK":
            return "that are weak and defined nowhere", None
        if self.modules[here]["kind"] == "linker":
            return "of ld.so, which relocates itself", here[1]
        return f"its symbol is {symbol.bind} {symbol.visibility} {symbol.section}", ...

    def unmatched(self, here: File, bound: dict[Key, list[str]], matched: set[Key]) -> None:
        file = self.file(here)
        types = types_of(file) if file else {}
        for key in bound.keys() - matched:
            there = types.get(key, set())
            if there - {kind for kind in there if "COPY" in kind}:
                self.result.disagreements.append(f"{here[1]}: no slot for {key}, {there}")
            why = "COPY" if there else "dlsym, or a look-up of ld.so's own"
            self.result.unmatched[why] += len(bound[key])


def describe(here: File, slot: Document) -> str:
    """A slot in one line."""
    symbol = f"{slot['symbol']}@{slot['version']}" if slot["version"] else slot["symbol"]
    return (
        f"{here[1]} [{here[0]}] {slot['type']} {symbol} at {slot['address']} ({slot['state']}, "
        f"leads to {slot['provider']} {slot['definition']}, expected {slot['expected']}, "
        f"{slot['verdict']}: {slot['reason']})"
    )


def judge_documents(
    got: Document, links: Document, log: Bindings, arm64: bool = False
) -> Judgement:
    """What `plug-got -all -json` says, by the log of the same process; LINKS has the names."""
    return _Judge(got, links, log, arm64).judge()


def disagreements(judgement: Judgement) -> Iterator[str]:
    """What a test must not find: words on each disagreement, and on slots without a verdict."""
    yield from judgement.disagreements
    yield from (f"{n} slots are not verified: {why}" for why, n in judgement.unverified.items())


if __name__ == "__main__":
    import sys

    from tests.judge_program import main

    sys.exit(main(sys.argv[1:]))
