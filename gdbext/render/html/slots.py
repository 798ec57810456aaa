"""GOT slots: those that are not ok as a plain table, all of them packed for the script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from gdbext.render.html.marks import labels
from gdbext.render.html.markup import (
    EMPTY,
    Column,
    Markup,
    Row,
    code,
    items,
    join,
    section,
    table,
    tag,
)
from gdbext.render.html.names import badge, count, file_name, module, versioned
from gdbext.render.printable import printable

_MOST = 200  # slots in the plain table
MOST_PACKED = 1 << 20  # slots that the script gets: browsers draw no taller tables
_EXACT = 1 << 53  # integers below are exact in a script (IEEE 754 binary64)
_COLUMNS = [
    Column("Verdict"),
    Column("Symbol", "name"),
    Column("Module", "name"),
    Column("Address", "code"),
    Column("Value", "code"),
    Column("Leads to", "name"),
    Column("Should lead to", "name"),
    Column("Reason", "wide"),
]


def slot_section(report: Mapping[str, Any], got: Mapping[str, Any] | None) -> Markup:
    """The slots that are not ok; below them the place where the script puts the table of all."""
    document = report.get("got")
    if document is None and got is None:
        return EMPTY
    total = document["slots"] if document else sum(len(m["slots"]) for m in (got or {})["modules"])
    parts: list[Markup] = []
    if document is not None:
        parts += _wrong(document)
    if got is not None:
        parts += [
            tag("h3", "All slots", id="all-slots-title"),
            tag("p", f"The first {MOST_PACKED:,} of them.") if total > MOST_PACKED else EMPTY,
            tag("noscript", tag("p", "The table of all slots needs this page's own script.")),
            tag("div", id="all-slots", class_="screen"),
        ]
    return section("slots", "GOT slots", *parts, note=f"{count(total, 'slot')} judged.")


def _wrong(document: Mapping[str, Any]) -> list[Markup]:
    modules = document["modules"]
    found = [(m["path"], slot) for m in modules for slot in m["slots"]]
    parts = [items(_problems(document), "findings")]
    if not found:
        parts.append(tag("p", "Each of them leads where the dynamic linker's own lookup leads."))
        return parts
    title = f"{count(len(found), 'slot')} not confirmed by the dynamic linker's own lookup"
    parts.append(table(title, _COLUMNS, islice(_rows(found), _MOST)))
    if len(found) > _MOST:
        parts.append(tag("p", f"and {len(found) - _MOST:,} more.", class_="note"))
    return parts


def _problems(document: Mapping[str, Any]) -> Iterator[Markup]:
    """Modules whose table cannot be shown, and tables whose first words are wrong."""
    for each in document["modules"]:
        if each["problem"]:
            yield join([code(file_name(each["path"])), f": {each['problem']}"])
        header = each["got_header"]
        if header and header["verdict"] not in ("ok", None):
            what = f": GOT[1] and GOT[2] are {header['verdict']}: {header['reason']}"
            yield join([code(file_name(each["path"])), what])


def _rows(found: list[tuple[str, Mapping[str, Any]]]) -> Iterator[Row]:
    for path, slot in found:
        kind = "plain" if slot["verdict"] == "unverified" else "lost"
        definition = slot["definition"]
        yield Row(
            [
                badge(slot["verdict"], kind),
                code(versioned(slot["symbol"], slot["version"])),
                module(path),
                code(slot["address"]),
                code(slot["value"]),
                join([module(slot["provider"]), f" {definition}" if definition else ""]),
                module(slot["expected"]),
                slot["reason"] or "",
            ]
        )


class Pool:
    """Each different string once; columns hold its place. Place 0 is the empty string."""

    def __init__(self) -> None:
        self.strings: list[str] = []
        self._places: dict[str, int] = {}
        self.place("")

    def place(self, text: str | None) -> int:
        """Where a string is; it is made printable on its way in."""
        found = self._places.get(text or "")
        if found is None:
            found = self._places[text or ""] = len(self.strings)
            self.strings.append(printable(text or ""))
        return found


class _Packed(NamedTuple):
    """A column of pool places for each of these names."""

    verdict: list[int]
    symbol: list[int]
    state: list[int]
    type: list[int]
    value: list[int]
    leads: list[int]
    expected: list[int]
    reason: list[int]


def packed(got: Mapping[str, Any]) -> dict[str, Any]:
    """Slots in columns: `strings`, the `modules` [path, how many slots], and a list for each.

    There are at most MOST_PACKED. `address` has the distance from the slot before, since most are
    8 bytes apart; a string where that would be negative or not exact, then it is the address
    itself. `expected` is empty where the slot leads there.
    """
    pool = Pool()
    modules: list[list[int]] = []
    address: list[int | str] = []
    columns = _Packed(*([] for _ in _Packed._fields))
    paths = {m["path"] for m in got["modules"]}
    paths |= {s["provider"] for m in got["modules"] for s in m["slots"] if s["provider"]}
    names = labels(sorted(paths))
    before, room = 0, MOST_PACKED
    for each in got["modules"]:
        slots = each["slots"][:room]
        room -= len(slots)
        modules.append([pool.place(each["path"]), len(slots)])
        for slot in slots:
            here = int(slot["address"], 16)
            address.append(here - before if 0 <= here - before < _EXACT else slot["address"])
            before = here
            columns.verdict.append(pool.place(slot["verdict"]))
            columns.symbol.append(pool.place(versioned(slot["symbol"], slot["version"])))
            columns.state.append(pool.place(slot["state"]))
            columns.type.append(pool.place(slot["type"]))
            columns.value.append(pool.place(slot["value"]))
            columns.leads.append(pool.place(_leads(slot, names)))
            expected = slot["expected"] if slot["expected"] != slot["provider"] else None
            columns.expected.append(pool.place(names.get(expected or "", expected)))
            columns.reason.append(pool.place(slot["reason"]))
    return {
        "strings": pool.strings,
        "modules": modules,
        "address": address,
        **columns._asdict(),
    }


def _leads(slot: Mapping[str, Any], names: Mapping[str, str]) -> str | None:
    """The module that a slot leads to; with the symbol there, where it is another one."""
    provider = slot["provider"]
    if not provider:
        return None
    definition = slot["definition"]
    name = names[provider]
    return name if definition in (None, slot["symbol"]) else f"{name}: {definition}"
