"""What was measured, the budgets it is held against, and the tables that show both."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from tabulate import tabulate

# The budgets, from the project's own promise "Fast" and "Light".
GOT_OF_INFO_SYMBOL = 1 / 17  # of the `info symbol` loop over the same slots
GOT_GROWTH = 2.2  # from 500 to 1,000 plugins
GOT_VERDICTS_SECONDS = 1.2  # the same, with a verdict on every slot
GOT_OF_LINKER = 1.0  # of ld.so's own time for the same libraries, bound at once, at N = 1,000
SYMBOL_SECONDS = 0.10  # plug-symbol at N = 1,000
CONFLICTS_SECONDS = 2.5  # plug-conflicts at N = 1,000
LINKS_SECONDS = 0.15  # plug-links at N = 1,000
SOURCE_SECONDS = 0.10  # over a bare GDB's start
PEAK_MEGABYTES = 80.0  # over GDB's own, at N = 500
CRASH_RATIO = 1.1  # reaching the N = 500 crash, of plain GDB's time

PLACES = ("live", "core")


@dataclass(frozen=True)
class Measurement:
    """One measured thing; `error` says why it could not be measured."""

    name: str
    place: str = ""  # "live", "core" or nothing
    plugins: int = 0
    seconds: tuple[float, ...] = ()  # each run, in order
    slots: int = 0
    slots_readelf: int = 0  # the benchmark's own count of the same
    asked: int = 0  # of the `info symbol` loop: how many slots were asked
    output_bytes: int = 0
    peak_before: float = 0.0  # MB, GDB at the crash before gdbext is sourced
    peak_after: float = 0.0  # MB, after the command
    error: str = ""

    @property
    def median(self) -> float | None:
        """The median of the runs, None if there was none."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def first(self) -> float | None:
        """The first run: modules are loaded and caches filled in it."""
        return self.seconds[0] if self.seconds else None


@dataclass(frozen=True)
class Budget:
    """One promise: `actual` must not exceed `limit`; None is not measured."""

    text: str
    limit: float
    actual: float | None
    unit: str

    @property
    def verdict(self) -> str:
        """within, over or not measured."""
        if self.actual is None:
            return "not measured"
        return "within" if self.actual <= self.limit else "over"


@dataclass
class Results:
    """All measurements of one run."""

    machine: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)

    def find(self, name: str, place: str = "", plugins: int = 0) -> Measurement | None:
        """The measurement with this name, place and size."""
        for one in self.measurements:
            if (one.name, one.place, one.plugins) == (name, place, plugins):
                return one
        return None

    def median(self, name: str, place: str = "", plugins: int = 0) -> float | None:
        """Its median, None if it was not measured."""
        found = self.find(name, place, plugins)
        return found.median if found else None


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """A quotient, None where one side is unknown."""
    if numerator is None or not denominator:
        return None
    return numerator / denominator


def difference(after: float | None, before: float | None) -> float | None:
    """A difference, None where one side is unknown."""
    return None if after is None or before is None else after - before


def growth(results: Results, name: str, place: str) -> float | None:
    """How many times longer 1,000 plugins take than 500."""
    return ratio(results.median(name, place, 1000), results.median(name, place, 500))


def peak_growth(results: Results, place: str) -> float | None:
    """MB that plug-got -all adds to GDB's peak at N = 500."""
    got = results.find("plug-got -all", place, 500)
    return got.peak_after - got.peak_before if got and got.seconds else None


def budgets(results: Results) -> list[Budget]:
    """Every budget with what was measured."""
    found: list[Budget] = []
    for place in PLACES:
        got = results.median("plug-got -all", place, 500)
        share = ratio(got, results.median("info symbol", place, 500))
        grown = growth(results, "plug-got -all", place)
        links = results.median("plug-links", place, 1000)
        whole = results.median("plug-got -all", place, 1000)
        linker = results.median("native, linked, LD_BIND_NOW=1", "", 1000)
        symbol = results.median("plug-symbol", place, 1000)
        conflicts = results.median("plug-conflicts", place, 1000)
        where = f"N = 500, {place}"
        found += [
            Budget(f"plug-got -all, {where}", GOT_VERDICTS_SECONDS, got, "s"),
            Budget(f"plug-got -all / info symbol, {where}", GOT_OF_INFO_SYMBOL, share, "times"),
            Budget(f"plug-got -all, 1,000 / 500, {place}", GOT_GROWTH, grown, "times"),
            Budget(
                f"plug-got -all / ld.so, N = 1,000, {place}",
                GOT_OF_LINKER,
                ratio(whole, linker),
                "times",
            ),
            Budget(f"plug-links, N = 1,000, {place}", LINKS_SECONDS, links, "s"),
            Budget(f"plug-symbol, N = 1,000, {place}", SYMBOL_SECONDS, symbol, "s"),
            Budget(f"plug-conflicts, N = 1,000, {place}", CONFLICTS_SECONDS, conflicts, "s"),
            Budget(f"peak memory, {where}", PEAK_MEGABYTES, peak_growth(results, place), "MB"),
        ]
    bare = results.median("start: bare GDB")
    sourced = results.median("start: source gdbext")
    found.append(Budget("sourcing gdbext", SOURCE_SECONDS, difference(sourced, bare), "s"))
    plain = results.median("crash: plain GDB", "live", 500)
    for state in ("on", "off"):
        seconds = results.median(f"crash: gdbext, stop-on-segv {state}", "live", 500)
        text = f"reaching the crash, N = 500, stop-on-segv {state}"
        found.append(Budget(text, CRASH_RATIO, ratio(seconds, plain), "times"))
    return found


def show_number(value: float | None, digits: int = 3) -> str:
    """A number with thousands separated, a dash for an unknown one."""
    return "-" if value is None else f"{value:,.{digits}f}"


def slot_rows(results: Results) -> list[list[str]]:
    """Rows of the first table: plug-got beside the `info symbol` loop."""
    rows = []
    for one in results.measurements:
        if not one.name.startswith("plug-got"):
            continue
        loop = results.find("info symbol", one.place, one.plugins)
        reference = loop.median if loop else None
        rate = ratio(float(one.slots), one.median)
        faster = ratio(reference, one.median)
        row = [f"{one.plugins:,}", one.place, one.name, show_number(one.first)]
        row += [show_number(one.median), f"{one.slots:,}", show_number(rate, 0)]
        row += [show_number(one.output_bytes / 1024, 0)]
        row += [show_number(reference), show_number(faster, 1)]
        rows.append(row)
    return rows


def notes(results: Results) -> list[str]:
    """What a reader of the tables must know besides, one line each."""
    found: dict[str, list[str]] = {}
    for one in results.measurements:
        where = f"{one.name} {one.place} {one.plugins or ''}".strip()
        if one.error:
            found.setdefault(f"not measured ({one.error})", []).append(where)
        if one.asked < one.slots and one.name == "info symbol":
            text = f"{one.asked:,} of {one.slots:,} slots sampled, time scaled to all"
            found.setdefault(text, []).append(where)
        if one.slots != one.slots_readelf and one.name != "info symbol":
            text = f"gdbext lists {one.slots:,} slots, readelf {one.slots_readelf:,}"
            found.setdefault(text, []).append(where)
    return [f"note: {text}: {', '.join(places)}" for text, places in found.items()]


def other_rows(results: Results) -> list[list[str]]:
    """Rows of the second table: everything that is not a matter of slots."""
    rows = []
    for one in results.measurements:
        if one.name.startswith("plug-got") or one.name == "info symbol":
            continue
        size = f"{one.plugins:,}" if one.plugins else ""
        row = [one.name, size, one.place, show_number(one.first), show_number(one.median)]
        rows.append([*row, str(len(one.seconds))])
    return rows


def growth_rows(results: Results) -> list[list[str]]:
    """Rows of the third table: from 500 to 1,000 plugins, and memory at 500."""
    rows = []
    for name in (
        "plug-got -all",
        "plug-got -all -json",
        "plug-links",
        "plug-symbol",
        "plug-conflicts",
        "native, linked, LD_BIND_NOW=1",
        "info symbol",
    ):
        for place in PLACES:
            grown = growth(results, name, place)
            if grown is not None:
                rows.append([f"{name}, {place}: 1,000 / 500", f"{grown:.2f} times"])
    for place in PLACES:
        got = results.find("plug-got -all", place, 500)
        if got and got.seconds:
            text = f"{got.peak_before:.1f} -> {got.peak_after:.1f} MB"
            rows.append([f"peak memory (VmHWM) of GDB, N = 500, {place}", text])
    return rows


def budget_rows(results: Results) -> list[list[str]]:
    """Rows of the last table."""
    rows = []
    for one in budgets(results):
        actual = "-" if one.actual is None else f"{one.actual:,.3f} {one.unit}"
        rows.append([one.text, actual, f"{one.limit:,.3f} {one.unit}", one.verdict])
    return rows


def tables(results: Results) -> str:
    """All tables as text."""
    headers = ["N", "place", "command", "first s", "median s", "slots", "slots/s"]
    headers += ["output kB", "info symbol s", "times faster"]
    parts = [
        (headers, slot_rows(results)),
        (["measurement", "N", "place", "first s", "median s", "runs"], other_rows(results)),
        (["growth and memory", ""], growth_rows(results)),
        (["budget", "measured", "limit", "verdict"], budget_rows(results)),
    ]
    text = "\n".join(f"{key}: {value}" for key, value in results.machine.items())
    for header, rows in parts:
        if rows:
            right = ["right" if word in RIGHT.split("|") else "left" for word in header]
            text += "\n\n" + tabulate(rows, header, disable_numparse=True, colalign=right)
    return "\n".join([text, "", *notes(results), ""])


RIGHT = "N|first s|median s|slots|slots/s|output kB|info symbol s|times faster|runs|measured|limit"


def as_json(results: Results) -> dict[str, object]:
    """The same as one JSON document."""
    rows = []
    for one in results.measurements:
        row = {key: value for key, value in vars(one).items() if value not in ("", 0, 0.0, ())}
        rows.append({**row, "median": one.median})
    held = [{**vars(one), "verdict": one.verdict} for one in budgets(results)]
    return {
        "schema": "gdbext/bench/1",
        "machine": results.machine,
        "measurements": rows,
        "budgets": held,
    }
