"""The report as a page: nothing from outside, nothing that a name could start, valid HTML."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbext.render.html import diff_html, page, report_html
from gdbext.render.html.markup import Markup, tag
from gdbext.render.html.page import asset
from gdbext.render.html.slots import packed
from gdbext.render.html.threads import ranges
from tests import documents
from tests.documents import HOSTILE, frame, got, report
from tests.harness import validated

VOID = {"meta", "br", "input", "col"}
# Neither what a name must not bring in nor anything that loads something.
TAGS = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "p", "span", "h1", "h2", "h3",
    "div", "dl", "dt", "dd", "code", "bdi", "ul", "ol", "li", "nav", "main", "section", "table",
    "caption", "thead", "tbody", "tr", "th", "td", "details", "summary", "noscript", "footer",
    "script",
}  # fmt: skip


class Page(HTMLParser):
    """What a parser sees: every tag with its attributes, text by element, what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(dict(attributes)) == len(attributes), attributes
        self.tags.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, attribute: str) -> list[str]:
        return [value for _, found in self.tags if (value := found.get(attribute)) is not None]


def whole(document: dict[str, Any], slots: dict[str, Any] | None = None) -> str:
    return "".join(report_html(document, slots))


def data_of(text: str) -> Any:  # noqa: ANN401
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


def test_the_sample_is_a_report() -> None:
    validated(report(conflicts=[documents.conflict("/opt/plugin.so", "/opt/host")]))
    validated(got(2, 3))
    for document in (report()[key] for key in ("links", "conflicts", "threads", "tls")):
        validated(document)


@pytest.mark.parametrize("name", ["plugin", HOSTILE])
def test_names_cannot_become_tags(name: str) -> None:
    text = whole(report(name=name), got(2, 3, name))
    seen = Page(text)
    assert {found for found, _ in seen.tags} <= TAGS
    assert not [key for _, found in seen.tags for key in found if key.startswith(("on", "src"))]
    assert [found.get("type") for kind, found in seen.tags if kind == "script"] == [
        "application/json",
        "module",
    ]
    assert all(value.startswith("#") for value in seen.all("href"))
    # control characters and those that turn the direction of text are shown, not sent
    static = text[: text.index('id="data"')]
    assert not [c for c in static if not c.isprintable() and c != "\n"]
    assert "window.hurt" not in "".join(seen.texts["script"][1:])


@pytest.mark.parametrize("name", ["plugin", HOSTILE])
def test_a_comparison_is_a_page_too(name: str) -> None:
    text = "".join(diff_html(validated(documents.diff(name))))
    seen = Page(text)
    assert {found for found, _ in seen.tags} <= TAGS
    assert not [key for _, found in seen.tags for key in found if key.startswith(("on", "src"))]
    assert seen.texts["h1"] == ["12 differences"]
    parts = ["changes", "modules", "verdicts", "providers", "symbols", "threads", "tls", "unknown"]
    assert [link[1:] for link in seen.all("href")] == ["main", *parts]
    assert set(parts) <= set(seen.all("id"))
    words = [word.strip() for inside in seen.texts.values() for word in inside]
    for word in ("2.41", "another build", "no longer needed", "dangling", "nowhere", "200"):
        assert word in words


def test_the_same_twice_is_no_difference() -> None:
    document = documents.diff()
    parts: dict[str, Any] = {key: [] for key, value in document.items() if isinstance(value, list)}
    text = "".join(diff_html({**document, **parts, "count": 0}))
    assert Page(text).texts["h1"] == ["No difference"]
    assert "<section" not in text


def test_a_name_is_readable_in_the_page() -> None:
    seen = Page(whole(report(name=HOSTILE), got(1, 1, HOSTILE)))
    shown = HOSTILE.replace("\x1b", r"\x1b").replace("\x07", r"\x07").replace("\x00", r"\x00")
    shown = shown.replace("\u202e", r"\u202e").replace("\u2028", r"\u2028")
    assert seen.texts["h1"] == [f"{shown} called nobody."]
    strings = data_of(whole(report(), got(1, 1, HOSTILE)))["slots"]["strings"]
    assert f"{shown}_function_0" in strings


@pytest.mark.parametrize("body", [Markup("<p>x</p>"), "<p>x</p>"])
def test_what_is_not_markup_is_text(body: str) -> None:
    seen = Page("".join(page("a & b", [body], {"a": "</script>\u2028"}, ("start.js",))))
    assert ("p" in dict(seen.tags)) == isinstance(body, Markup)
    assert seen.texts["title"] == ["a & b"]
    assert tag("a", "<", title='"') == '<a title="&quot;">&lt;</a>'


def test_the_policy_allows_this_style_and_script_alone() -> None:
    text = whole(report(), got(1, 2))
    seen = Page(text)
    (policy,) = [f["content"] for _, f in seen.tags if f.get("http-equiv")]
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))

    def named(code: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"

    (style,) = re.findall(r"<style>(.*?)</style>", text, re.S)
    (script,) = re.findall(r'<script type="module">(.*?)</script>', text, re.S)
    assert rules.pop("script-src") == named(script)
    assert rules.pop("style-src") == named(style)
    assert rules == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert "unsafe" not in policy
    assert not re.search(r"url\(|@import|https?:", style)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval\(|document\.write", script)


def test_the_page_is_sound() -> None:
    seen = Page(whole(report(), got(1, 2)))
    names = seen.all("id")
    assert len(set(names)) == len(names)
    assert {href[1:] for href in seen.all("href")} <= set(names)
    assert set(seen.all("aria-labelledby")) <= set(names)
    kinds = [found for found, _ in seen.tags]
    assert [kinds.count(one) for one in ("h1", "main", "nav", "header", "footer")] == [1] * 5
    levels = [int(kind[1]) for kind in kinds if re.fullmatch(r"h\d", kind)]
    assert all(later - before <= 1 for before, later in zip(levels, levels[1:]))
    assert kinds.count("caption") == kinds.count("table")
    heads = [found for kind, found in seen.tags if kind == "th"]
    assert all(found.get("scope") in ("col", "row") for found in heads)


def test_what_matters_most_comes_first() -> None:
    text = whole(report())
    order = ["plugin called nobody.", "SIGSEGV: address not mapped", "seen in plugin",
             "a chain breaks at plugin", 'id="frames"', 'id="picture"', 'id="threads"']  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_absent_parts_are_left_out_and_new_ones_shown() -> None:
    bare = {"gdbext": "1.0", "target": "core", "links": None, "links_reason": "nothing to see"}
    text = whole(bare)
    assert "Not stopped by a signal" in text
    assert "modules: nothing to see" in text
    assert 'id="modules"' not in text
    new = {"weather": [{"wind": {"from": "<north>"}, "dry": True}], "moon": None}
    shown = whole({**report(), **new})
    assert '<h2 id="weather-title">Weather</h2>' in shown
    assert "from &lt;north&gt;" in shown
    assert 'id="moon"' not in shown


def test_a_recursion_takes_one_row() -> None:
    same = [frame(level, "/opt/host", "deep", pc="0x1000") for level in range(200)]
    text = whole({**report(), "frames": [*same, frame(200, "/opt/host", "main")]})
    assert "and 199 more of the same" in text
    assert Page(text).texts["code"].count("deep") == 1


def test_what_was_traced_is_told() -> None:
    words = Page(whole(report())).texts
    said = [word for inside in words.values() for word in inside]
    for word in ("What was traced", "dlopen", "failed", "plugin: cannot open", "plugin stays",
                 "RTLD_LAZY", "2.000"):  # fmt: skip
        assert word in said


def test_ten_thousand_threads_make_a_small_page() -> None:
    document = report()
    threads = document["threads"]
    (one,) = threads["threads"]
    (stack,) = threads["stacks"]
    threads["stacks"] = [stack] * 500
    threads["threads"] = [
        {**one, "number": n, "stack": n % 500, "selected": n == 77} for n in range(1, 10_001)
    ]
    text = whole(document)
    assert len(text) < 6_000_000
    summaries = re.findall(r"<summary>(\d+ threads.*?)</summary>", text)
    assert len(summaries) == 200
    assert "(selected)" in summaries[0]
    assert "300 other stacks" in text
    threads["threads"] = [{**entry, "stack": 0} for entry in threads["threads"]]
    assert "and the same: threads 26 to 10000" in whole(document)
    assert ranges([9, 1, 2, 3, 7]) == "1 to 3, 7, 9"


def test_the_same_report_is_the_same_page() -> None:
    code = (
        "from tests.documents import *; from gdbext.render.html import report_html; "
        "import hashlib; lost = [conflict(f'/opt/{n}.so', MAIN) for n in 'abc']; "
        "text = ''.join(report_html(report(conflicts=lost), got(3, 50))); "
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    root = Path(__file__).parents[2]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=4), min_size=1, max_size=4))
def test_packed_slots_hold_every_address(addresses: list[list[int]]) -> None:
    modules = [
        {"path": f"/{place}", "slots": [documents.slot(address) for address in inside]}
        for place, inside in enumerate(addresses)
    ]
    found = packed({"modules": modules})
    before, unpacked = 0, []
    for step in found["address"]:
        before = int(step, 16) if isinstance(step, str) else before + step
        assert isinstance(step, str) or 0 <= step < 2**53
        unpacked.append(before)
    assert unpacked == [address for inside in addresses for address in inside]
    assert [count for _, count in found["modules"]] == [len(inside) for inside in addresses]
    strings = found["strings"]
    assert {strings[place] for place in found["symbol"]} <= {"puts"}


def test_packed_slots_are_small() -> None:
    document = got(100, 100)
    text = json.dumps(packed(document), separators=(",", ":"))
    assert len(text) < len(json.dumps(document)) / 3


def luminance(color: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def schemes() -> Iterator[dict[str, str]]:
    """The colours of each block of the style that sets all of them: light, dark, paper."""
    for block in re.findall(r":root \{(.*?)\}", asset("report.css"), re.S):
        found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        if found:
            yield found


def test_text_has_contrast() -> None:
    found = list(schemes())
    assert len(found) == 3
    for colors in found:
        grounds = {"ink": ["paper", "card", "crash-ground", "lost-ground", "gone-ground",
                           "plain-ground", "chosen-ground"],
                   "soft": ["paper", "card", "crash-ground"], "link": ["paper", "card"],
                   "crash": ["crash-ground"], "lost": ["lost-ground"], "gone": ["gone-ground"],
                   "plain": ["plain-ground", "paper", "lost-ground"]}  # fmt: skip
        for front, backs in grounds.items():
            for back in backs:
                light = sorted((luminance(colors[front]), luminance(colors[back])))
                assert (light[1] + 0.05) / (light[0] + 0.05) >= 4.5, (front, back, colors)
