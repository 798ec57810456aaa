"""What somebody wants to know first: the cause, the crash site, the frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from gdbext.render.html.around import warnings
from gdbext.render.html.markup import (
    EMPTY,
    Column,
    Markup,
    Row,
    code,
    facts,
    folded,
    items,
    join,
    section,
    table,
    tag,
    text,
)
from gdbext.render.html.names import badge, count, file_name, function, source, spot

_LARGE = 110  # letters of a title in the largest type
_FIRST = 24  # frames that are shown without being asked for
_FRAMES = [
    Column("#", "number"),
    Column("Function"),
    Column("Module and offset"),
    Column("Source"),
    Column("Build-id", "id"),
]
# What could not be read, by the keys of the report.
_PARTS = {
    "links": "modules",
    "got": "GOT slots",
    "conflicts": "conflicts",
    "threads": "threads",
    "tls": "thread-local storage",
}


def headline(report: Mapping[str, Any]) -> Markup:
    """The sentence of the cause in large type, the crash site, the evidence and the remedy."""
    cause = report.get("cause")
    signal, meaning = report.get("signal"), report.get("signal_meaning")
    stop = f"{signal}: {meaning}" if signal and meaning else signal
    if cause:
        title = _sentence(cause["text"])
    elif signal:
        title = _plain_title(report, signal, meaning)
    else:
        title = "Not stopped by a signal"
    about = "" if cause or not signal else "No cause that has to do with libraries was seen."
    program = report.get("program")
    return tag(
        "header",
        tag(
            "p", "gdbext report", tag("span", file_name(program) if program else ""), class_="kind"
        ),
        tag("h1", title, id="cause", class_="long" if len(title) > _LARGE else None),
        tag("p", about, class_="lead") if about else EMPTY,
        tag("div", _site(report, stop), _why(report), class_="first"),
        class_="headline",
    )


def _plain_title(report: Mapping[str, Any], signal: str, meaning: str | None) -> str:
    frame = report.get("crash_frame") or {}
    where = " in ".join(
        name for name in (function(frame), file_name(frame.get("module") or "")) if name
    )
    return f"{signal}{f' in {where}' if where else ''}{f': {meaning}' if meaning else ''}"


def _site(report: Mapping[str, Any], stop: str | None) -> Markup:
    """Signal, addresses and names."""
    pairs: list[tuple[str, str]] = [("Signal", stop or "none")]
    if report.get("ended_by"):
        pairs.append(("Ended by", report["ended_by"]))
    address, reason = report.get("fault_address"), report.get("fault_address_reason")
    if address:
        pairs.append(("Fault address", join([code(address), f" {reason}" if reason else ""])))
    elif reason:
        pairs.append(("Fault address", f"unknown: {reason}"))
    frame = report.get("crash_frame")
    if frame:
        where = [code(function(frame)), " in "] if function(frame) else []
        pairs.append(("Crash site", join([*where, spot(frame)])))
        if frame.get("file"):
            pairs.append(("Source", source(frame)))
    thread = next((t for t in _threads(report) if t.get("selected")), None)
    if thread:
        name = f" {thread['name']}" if thread.get("name") else ""
        pairs.append(("Thread", f"{thread['number']} of {len(_threads(report))}{name}"))
    program = report.get("program")
    pairs.append(("Program", code(program) if program else "not known"))
    return facts(pairs)


def _threads(report: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (report.get("threads") or {}).get("threads") or []


def _why(report: Mapping[str, Any]) -> Markup:
    """Evidence of the first cause, what else may be, and what is missing."""
    cause = report.get("cause")
    parts = []
    if cause:
        parts += [tag("h2", "Evidence"), items(cause.get("evidence", []))]
    if report.get("next_step"):
        parts += [tag("h2", "What to do"), tag("p", report["next_step"])]
    others = [c for c in report.get("causes", []) if c != cause]
    if others:
        parts += [
            tag("h2", "It may also be"),
            *(tag("p", _sentence(c["text"])) for c in others[:3]),
        ]
    lacking = list(_lacking(report))
    if lacking:
        parts += [tag("h2", "What is missing"), items(lacking)]
    return tag("div", *parts, class_="why") if parts else EMPTY


def _lacking(report: Mapping[str, Any]) -> Iterator[Markup]:
    for key, name in _PARTS.items():
        if report.get(key) is None and report.get(f"{key}_reason"):
            yield join([f"{name}: ", report[f"{key}_reason"]])
    links = report.get("links") or {}
    unknown = (report.get("conflicts") or {}).get("unknown") or []
    if unknown:
        link = tag("a", count(len(unknown), "module"), href="#conflicts")
        yield join([link, " whose references could not be judged"])
    yield from (join(["modules: ", problem]) for problem in links.get("problems", [])[:5])
    yield from map(text, warnings(report))
    missing = report.get("missing")
    if missing:
        link = tag("a", count(len(missing), "file"), href="#missing")
        yield join([link, " to fetch would tell more"])


def frames(report: Mapping[str, Any]) -> Markup:
    """The frames of the crashing thread."""
    found = report.get("frames") or []
    if not found:
        return section("frames", "Frames", tag("p", "No frame is known."))
    rows = list(frame_rows(found, (report.get("crash_frame") or {}).get("level")))
    first = table("Innermost first", _FRAMES, rows[:_FIRST], header=1, kind="cards")
    rest = rows[_FIRST:]
    more = EMPTY
    if rest:
        title = count(len(rest), "more row")
        more = folded(title, table(title, _FRAMES, rest, header=1, kind="cards"))
    return section("frames", "Frames", first, more)


def frame_rows(found: Sequence[Mapping[str, Any]], site: int | None = None) -> Iterator[Row]:
    """Rows of frames; of three or more at one address, a recursion, the first alone."""
    for _, group in groupby(found, key=lambda f: (f["pc"], f.get("symbol"), f.get("line"))):
        same = list(group)
        for frame in same if len(same) == 2 else same[:1]:
            yield _frame_row(frame, frame["level"] == site, len(same) - 1 if len(same) > 2 else 0)


def _frame_row(frame: Mapping[str, Any], crash: bool, again: int) -> Row:
    name = [
        code(function(frame) or "??"),
        badge("crash site", "crash") if crash else EMPTY,
        f"and {again:,} more of the same" if again else "",
    ]
    cells = [
        str(frame["level"]),
        join(name, " "),
        spot(frame),
        source(frame),
        code(frame.get("build_id")),
    ]
    return Row(cells, "site" if crash else "")


def _sentence(words: str) -> str:
    """A sentence with its full stop; its start is left alone where it may be a file's name."""
    if words.startswith(("the ", "a ", "an ")):
        words = words[0].upper() + words[1:]
    return words if words.endswith((".", "?", "!")) else f"{words}."
