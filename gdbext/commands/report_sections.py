"""The parts of the post-mortem that stand behind the crash itself, folded where they are long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gdbext.commands.conflicts import (
    KINDS,
    families_text,
    name_of,
    not_judged,
    unknown_text,
)
from gdbext.commands.links import links_table
from gdbext.commands.reportfacts import PARTS
from gdbext.findings.crash.description import how_known
from gdbext.findings.tls import describe_room
from gdbext.linker.tls.tls import NO_POINTER
from gdbext.render.fit import shortened, wrapped
from gdbext.render.printable import count, printable

if TYPE_CHECKING:
    from gdbext.commands.got import JudgedModule
    from gdbext.commands.reportfacts import ReportFacts
    from gdbext.findings.conflicts.conflicts import Conflict
    from gdbext.linker.needs.links import Link

_MOST_MODULES = 30  # so many are all shown
_MOST_ROWS = 12
_MOST_SLOTS = 20  # of one module, or for one reason
_MOST_NAMES = 3
_LONGEST_LINE = 100  # columns, also where the output has no width


def unknown_lines(facts: ReportFacts, width: int) -> Iterator[str]:
    """What is not known, and why, each reason once."""
    reasons: dict[str, list[str]] = {}
    for key, part in facts.parts.items():
        if part.facts is None:
            reasons.setdefault(part.problem or "nobody says why", []).append(PARTS[key][0])
    for reason, titles in reasons.items():
        yield from wrapped("  ", f"{', '.join(titles)}: {printable(reason)}", width)


def missing_lines(facts: ReportFacts, width: int) -> Iterator[str]:
    """Which builds to fetch for which paths, and how."""
    words = {"absent": "is not here", "deleted": "was deleted"}
    told = [one for one in facts.missing if one.build_id is not None]
    untold = [one for one in facts.missing if one.build_id is None]
    for one in told[:_MOST_ROWS]:
        here = f" (build-id {one.here})" if one.here else ""
        state = words.get(one.state, f"is another build here{here}; it is not used")
        yield from wrapped("  ", f"{printable(one.path)} {state}", width)
        yield from wrapped("      ", printable(one.remedy), width)
    if told[_MOST_ROWS:]:
        yield f"  and {count(len(told) - _MOST_ROWS, 'more file')}; -json names all"
    if untold:
        yield f"  {count(len(untold), 'file')} of which nothing tells the build-id:"
        yield from (f"      {printable(one.path)}" for one in untold[:_MOST_ROWS])
    if untold[_MOST_ROWS:]:
        yield f"      and {len(untold) - _MOST_ROWS} more; -json names all"
    if facts.missing:
        fetch = "fetch these (the debuginfod cache is looked through), or " if told else ""
        yield from wrapped(
            "  Next: ",
            f"{fetch}copy them from that machine into one folder under their paths and name it "
            "with --sysroot, and report again; in GDB: set sysroot.",
            width,
        )


def not_ok_lines(facts: ReportFacts, width: int) -> Iterator[str]:
    """The slots that ld.so's own lookup does not confirm. Where a file is missing that may be
    thousands for one reason, which is then said once."""
    part, bad = facts.parts["got"], facts.not_ok
    if bad is None:
        return
    if not bad:
        yield f"  none of {facts.slots}"
        return
    folded = _shared_reasons(bad)
    alone = [judged for judged in (_without(judged, folded) for judged in bad) if judged]
    alone.sort(key=_is_unverified)  # what is certain comes first
    for judged in alone[:_MOST_ROWS]:
        slots = len(judged.found.slots)
        first = judged.only(range(min(slots, _MOST_SLOTS)))
        yield from list(part.command.text([first], part.args))[:-1]  # the sum of all is below
        if slots > _MOST_SLOTS:
            name = printable(judged.found.module.file_name)
            yield f"  and {count(slots - _MOST_SLOTS, 'more slot')}: plug-got {name}"
    rest = alone[_MOST_ROWS:]
    if rest:
        slots = sum(len(judged.found.slots) for judged in rest)
        yield f"  and {count(slots, 'slot')} in {count(len(rest), 'more module')}: plug-got -all"
    for reason, slots in folded.most_common(_MOST_NAMES):
        yield from wrapped("  unverified: ", f"{slots} slots: {printable(reason)}", width)
    if len(folded) > _MOST_NAMES:
        slots = sum(each for _, each in folded.most_common()[_MOST_NAMES:])
        yield f"  unverified: {slots} slots for {count(len(folded) - _MOST_NAMES, 'more reason')}"
    yield from _unread_lines(bad, width)
    yield f"{sum(len(judged.found.slots) for judged in bad)} of {count(facts.slots, 'slot')}"


def _unread_lines(bad: list[JudgedModule], width: int) -> Iterator[str]:
    """The modules whose slots cannot be read, by the reason."""
    reasons: dict[str, list[str]] = {}
    for judged in bad:
        if judged.found.problem is not None:
            reasons.setdefault(judged.found.problem, []).append(judged.found.module.file_name)
    for reason, names in reasons.items():
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        text = f"{', '.join(names[:_MOST_NAMES])}{more}: {reason}"
        yield from wrapped("  cannot be read: ", printable(text), width)


def _is_unverified(judged: JudgedModule) -> bool:
    """Whether nothing of a module is known to be wrong."""
    header = judged.header.verdict if judged.header is not None else "ok"
    return {header, *judged.judgements.verdicts} <= {"ok", "unverified"}


def _shared_reasons(bad: list[JudgedModule]) -> Counter[str]:
    """Why slots are unverified, where it is the reason of many."""
    reasons = Counter(
        reason
        for judged in bad
        for verdict, _, reason in judged.judgements
        if verdict == "unverified" and reason
    )
    return Counter({reason: slots for reason, slots in reasons.items() if slots > _MOST_SLOTS})


def _without(judged: JudgedModule, folded: Counter[str]) -> JudgedModule | None:
    """The module without the slots whose reason is told elsewhere, if there is more to it."""
    rows = [
        i
        for i, (verdict, _, reason) in enumerate(judged.judgements)
        if verdict != "unverified" or reason not in folded
    ]
    header = judged.header is not None and judged.header.verdict not in ("ok", None)
    return judged.only(rows) if rows or header else None


def conflict_lines(facts: ReportFacts, width: int) -> Iterator[str]:
    """Who lost symbols to whom, most first; runtimes that are there more than once."""
    part = facts.parts["conflicts"]
    if part.facts is None:
        return
    found = part.facts.conflicts
    true = [c for c in found.found if c.kind is None]
    benign = [c for c in found.found if c.kind is not None]
    kinds = ", ".join(k for k in KINDS if any(c.kind == k for c in benign))
    told = f", {len(benign)} benign ({kinds})" if benign else ""
    yield f"  {count(len(true), 'conflict')}{told}{unknown_text(found)}"
    groups: dict[tuple[int, int], list[Conflict]] = {}
    for conflict in true:
        key = conflict.loser.map.address, conflict.winner.map.address
        groups.setdefault(key, []).append(conflict)
    near = {place.module.map.address for _, place in facts.crash.frames if place.module}
    order = sorted(groups, key=lambda pair: (near.isdisjoint(pair), -len(groups[pair])))
    for same in (groups[pair] for pair in order[:_MOST_ROWS]):
        yield from _lost_lines(same, width)
    if len(groups) > _MOST_ROWS:
        yield f"  and {len(groups) - _MOST_ROWS} more pairs of modules: plug-conflicts"
    yield from families_text(part.facts.families)
    yield from not_judged("  not judged: ", found, width)


def _lost_lines(same: list[Conflict], width: int) -> Iterator[str]:
    """What one module lost to another: on one line, or each long C++ name on its own."""
    names = [printable(name_of(conflict)) for conflict in same[:_MOST_NAMES]]
    more = f"and {len(same) - _MOST_NAMES} more" if len(same) > _MOST_NAMES else ""
    head = printable(f"  {same[0].loser.file_name} lost to {same[0].winner.file_name}: ")
    line = f"{', '.join(names)} {more}".rstrip()
    if len(head) + len(line) <= min(width, _LONGEST_LINE):
        yield from wrapped(head, line, width)
        return
    yield from wrapped("  ", head.lstrip() + count(len(same), "symbol"), width)
    for name in [*names, more] if more else names:
        yield f"      {shortened(name, min(width, _LONGEST_LINE) - 6)}"


def thread_lines(facts: ReportFacts, width: int) -> Iterator[str]:
    """The crashing thread first, then groups of threads with one stack, the largest first."""
    part = facts.parts["threads"]
    if part.facts is None:
        return
    groups = sorted(
        part.facts.groups, key=lambda g: (not any(t.selected for t in g.threads), -len(g.threads))
    )
    shown, rest = groups[:_MOST_ROWS], groups[_MOST_ROWS:]
    alone = part.facts._replace(groups=shown, locks_reason=None, notes=[])
    yield from part.command.text(alone, part.args)
    for note in part.facts.notes:
        if note != facts.crash.problem:
            yield from wrapped("Note: ", printable(note), width)
    if rest:
        threads = sum(len(group.threads) for group in rest)
        yield f"and {count(threads, 'thread')} with {len(rest)} more stacks: plug-threads"


def unloaded_lines(facts: ReportFacts, width: int) -> Iterator[str]:
    """The libraries that are known to be gone."""
    for one in facts.unloaded[:_MOST_ROWS]:
        head = f"  {one.start:#x} - {one.end:#x}  "
        probable = "probably " if one.probable else ""
        name = printable(one.path) or "its name is lost"
        yield from wrapped(head, f"{probable}{name}: {how_known(one)}", width)
    rest = len(facts.unloaded) - _MOST_ROWS
    if rest > 0:
        yield f"  and {rest} more; -json names all"


def tls_lines(facts: ReportFacts, width: int) -> Iterator[str]:
    """Static TLS, and the modules of which the crashing thread has no block yet."""
    part = facts.parts["tls"]
    if part.facts is None:
        return
    own = [row.tls for row in part.facts.rows if row.tls is not None]
    blocks = sum(part.facts.block(tls).start is not None for tls in own)
    unread, thread = part.facts.tls.unread, part.facts.selected
    where = f", unknown of {count(unread, 'module')} without a file" if unread else ""
    if own and thread:
        told = (
            f"has blocks of {blocks}"
            if thread.thread_pointer
            else f"has unknown blocks: {NO_POINTER}"
        )
        where += f"; thread {thread.number} {told}"
    yield from wrapped("  ", f"{count(len(own), 'module')} with TLS{where}", width)
    yield from wrapped("  static TLS: ", describe_room(part.facts.tls, part.facts.room), width)


def module_lines(facts: ReportFacts) -> Iterator[str]:
    """All modules, or those that have to do with the crash, with conflicts or with files."""
    part = facts.parts["links"]
    if part.facts is None:
        return
    if len(part.facts.links) <= _MOST_MODULES:
        yield from part.text()
        return
    chosen = _chosen(facts)
    links = [link for link in part.facts.links if link.module.map.address in chosen]
    yield f"{len(links)} of {len(part.facts.links)} modules; plug-links shows all"
    yield from links_table(links, quick=True)


def _chosen(facts: ReportFacts) -> set[int]:
    """The link_maps of the modules to show among many."""
    places = [place for _, place in facts.crash.frames]
    places += [register.place for register in facts.crash.registers if register.place]
    chosen = {place.module.map.address for place in places if place.module}
    missing = {one.path for one in facts.missing}
    links: list[Link] = facts.parts["links"].facts.links
    for link in links:
        module = link.module
        replaced = link.on_disk.state not in ("same", "memory", None)
        if module.kind in ("main", "linker", "preloaded") or replaced or module.path in missing:
            chosen.add(module.map.address)
    chosen |= {one.found.module.map.address for one in facts.not_ok or ()}
    families = facts.parts["conflicts"].facts.families if facts.parts["conflicts"].facts else []
    chosen |= {copy.module.map.address for family in families for copy in family.copies}
    return set(sorted(chosen)[:_MOST_MODULES]) if len(chosen) > _MOST_MODULES * 2 else chosen


def version_lines(facts: ReportFacts, width: int) -> Iterator[str]:
    """What the report was made by, and the C library."""
    versions = facts.versions
    libc = "an unknown C library"
    if versions.libc is not None:
        libc = f"{versions.libc} {versions.libc_version or '(version not told)'}"
    yield from wrapped(
        "  ",
        f"gdbext {versions.gdbext}, GDB {versions.gdb} with Python {versions.gdb_python}; "
        f"{libc} on {versions.cpu}",
        width,
    )


def warning_lines(facts: ReportFacts, width: int) -> Iterator[str]:
    """What GDB warned of, alike ones once."""
    folded: dict[str, list[str]] = {}
    for line in facts.warnings:
        folded.setdefault("".join(c for c in line if not c.isdigit()), []).append(line)
    for same in list(folded.values())[:_MOST_ROWS]:
        more = f" ({len(same)} like this)" if len(same) > 1 else ""
        yield from wrapped("  ", printable(same[0]) + more, width)
    if len(folded) > _MOST_ROWS:
        yield f"  and {len(folded) - _MOST_ROWS} more; -json has all"
