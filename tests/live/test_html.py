"""The page of a report in a real browser: it loads nothing, starts nothing, is quick, and can be
used without a mouse, without a script and on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gdbext.render.html import diff_html, report_html
from tests.browser import Browser
from tests.cores import Core
from tests.documents import HOSTILE, LIBC, MAIN, conflict, diff, event, got, module, report
from tests.harness import Batch

# One worker runs all of these, in one browser.
pytestmark = pytest.mark.xdist_group("browser")

SLOW = 2000  # milliseconds, for what takes 10 to 100 on a machine that does nothing else


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    chromium.size(1280, 900)
    chromium.prefer()
    return chromium


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Callable[..., Browser]:
    """show(report, got): a browser that shows the page of these documents."""

    def write_and_open(document: dict[str, Any], slots: dict[str, Any] | None = None) -> Browser:
        path = tmp_path / "report.html"
        path.write_text("".join(report_html(document, slots)), encoding="utf-8")
        browser.open(path)
        assert browser.requests == [path.as_uri()]
        assert browser.complaints == []
        return browser

    return write_and_open


def test_the_page_of_a_core(
    core: Callable[..., Core], batch: Callable[..., Batch], browser: Browser, tmp_path: Path
) -> None:
    made = core("nullcall/host")
    path = tmp_path / "report.html"
    nowhere = tmp_path / "no" / "report.html"
    done = batch("-ex", f"plug-report -html {nowhere}", "-ex", f"plug-report -symbols -html {path}",
                 f"--core={made.path}", arm64=made.arm64)  # fmt: skip
    assert f"plug-report: cannot write '{nowhere}'" in done.stderr
    assert done.status == 0
    assert "Frames:" in done.stdout  # the answer is there as without the page
    assert path.stat().st_mode & 0o777 == 0o600
    browser.open(path)
    assert (browser.requests, browser.complaints) == ([path.as_uri()], [])
    title = browser.run("document.querySelector('h1').textContent")
    if not made.arm64:  # qemu's cores hold fewer mappings
        assert "optional_feature" in title
        assert browser.run("document.querySelector('.item.crash .label').textContent") == "host"
    frames = browser.run("document.querySelector('#frames table').textContent")
    assert "plugin_run" in frames
    shown = browser.run("document.querySelector('#all-slots [role=status]').textContent")
    assert int(shown.split()[0]) > 10


def test_hostile_names_start_nothing(show: Callable[..., Browser], tmp_path: Path) -> None:
    plugin = f"/opt/{HOSTILE}.so"
    document = report(name=HOSTILE, conflicts=[conflict(plugin, MAIN, HOSTILE)])
    browser = show(document, got(2, 600, HOSTILE))
    # everything that can be opened, found and chosen
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.run("document.querySelectorAll('thead button').forEach((one) => one.click())")
    browser.run("document.querySelector('.viewport tbody td').click()")
    browser.run(
        "document.querySelectorAll('.item').forEach((one) => "
        "one.dispatchEvent(new MouseEvent('click', {bubbles: true})))"
    )
    assert browser.run("window.hurt ?? null") is None
    assert browser.run("document.querySelectorAll('img, iframe, object, script').length") == 2
    words = browser.run("document.querySelector('.panel').textContent + document.body.innerText")
    assert "<script>window.hurt = 1</script>" in words
    assert "\u202e" not in words
    page = tmp_path / "diff.html"
    page.write_text("".join(diff_html(diff(HOSTILE))), encoding="utf-8")
    browser.open(page)
    browser.run("document.querySelectorAll('thead button').forEach((one) => one.click())")
    assert browser.run("window.hurt ?? null") is None
    assert browser.requests == [page.as_uri()]
    assert browser.complaints == []


ATTACKS = {
    "img-src": "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x'}))",
    "connect-src": "fetch('http://127.0.0.1:9/').catch(() => 0)",
    "style-src-attr": "document.body.setAttribute('style', 'display: none')",
    "require-trusted-types-for": "document.body.innerHTML = '<p>'",
}


def test_the_policy_holds(show: Callable[..., Browser]) -> None:
    browser = show(report())
    for directive, attack in ATTACKS.items():
        refused = browser.run(
            "new Promise((done) => { addEventListener('securitypolicyviolation', "
            "(event) => done(event.effectiveDirective), {once: true}); "
            f"setTimeout(() => done('nothing'), {SLOW}); "
            f"try {{ {attack} }} catch (error) {{ error; }} }})"
        )
        assert refused == directive
    assert browser.run("document.querySelector('main') !== null")


def timed(browser: Browser, action: str) -> float:
    """Milliseconds until ACTION is done and laid out."""
    found: float = browser.run(
        f"(() => {{ const start = performance.now(); {action}; "
        "document.querySelector('.viewport').offsetHeight; return performance.now() - start; })()"
    )
    return found


def column(browser: Browser, title: str) -> list[str]:
    """What the rows in view have in that column of the table of all slots."""
    found: list[str] = browser.run(
        "(() => { const table = document.querySelector('.viewport table');"
        "const at = [...table.tHead.rows[0].cells].findIndex("
        f"(head) => head.textContent === '{title}');"
        "return [...table.querySelectorAll('tr[aria-rowindex]:not(thead tr)')].map("
        "(row) => row.cells[at].textContent); })()"
    )
    return found


def test_sixty_thousand_slots_are_quick(show: Callable[..., Browser]) -> None:
    browser = show(report(), got(200, 300))
    status = "document.querySelector('#all-slots [role=status]').textContent"
    assert browser.run(status) == "60,000 of 60,000 slots"
    assert browser.run("document.querySelectorAll('.viewport tr').length") < 120
    buttons = "document.querySelectorAll('.viewport thead button')"
    for at in range(browser.run(f"{buttons}.length")):
        assert timed(browser, f"{buttons}[{at}].click()") < SLOW
        assert timed(browser, f"{buttons}[{at}].click()") < SLOW
    browser.run(f"{buttons}[6].click()")  # addresses, upwards
    addresses = [int(text, 16) for text in column(browser, "Address")]
    assert addresses == sorted(addresses)
    assert addresses[0] == 0x7F0000000000
    sorts = "[...document.querySelectorAll('.viewport th')].map((one) => one.ariaSort)"
    assert browser.run(sorts) == [None] * 6 + ["ascending"] + [None] * 3

    query = "(document.querySelector('#all-slots input').value = '{}', document.querySelector(" \
            "'#all-slots input').dispatchEvent(new Event('input')))"  # fmt: skip
    assert timed(browser, query.format("plugin7.so V_1")) < SLOW
    assert browser.run(status) == "150 of 60,000 slots"
    assert timed(browser, query.format("0x7f0000070008")) < SLOW
    assert column(browser, "Address") == ["0x7f0000070008"]
    browser.run(query.format(""))
    choose = "document.querySelector('#all-slots select')"
    browser.run(f"({choose}.value = 'not ok', {choose}.dispatchEvent(new Event('change')))")
    assert browser.run(status) == "60 of 60,000 slots"
    assert set(column(browser, "Verdict")) == {"redirected"}
    browser.run(f"({choose}.value = '', {choose}.dispatchEvent(new Event('change')))")

    # the last row by keyboard alone, and all that is known of it
    browser.run("document.querySelector('.viewport').focus()")
    browser.press("End")
    browser.press("ArrowUp")
    browser.press("ArrowDown")
    assert browser.run("document.querySelector('[aria-current]').ariaRowIndex") == "60001"
    assert "plugin199.so" in browser.run("document.querySelector('#all-slots .panel').textContent")
    assert browser.complaints == []


def many() -> dict[str, Any]:
    """300 modules in 30 folders, one of which crashed, one of which loses a symbol."""
    modules = [module(MAIN, "main"), module(LIBC, "needed", needed_by=[MAIN])]
    modules += [
        module(f"/opt/part{n % 30}/lib{n}.so", opened_by=MAIN, needed_by=[MAIN]) for n in range(298)
    ]
    modules += [module("/opt/plugin.so", opened_by="/opt/part1/lib1.so")]
    return report(modules, [conflict("/opt/part2/lib2.so", "/opt/part1/lib1.so")])


def test_three_hundred_modules_are_readable(show: Callable[..., Browser]) -> None:
    browser = show(many())
    items = "[...document.querySelectorAll('.item')]"
    labels = browser.run(f"{items}.map((one) => one.getAttribute('aria-label'))")
    assert len(labels) < 40
    text = "; ".join(labels)
    assert "plugin.so, crash site" in text
    assert "lib2.so, loses 1" in text
    assert "unloaded" in text
    assert browser.run("document.querySelectorAll('.edge.loss').length") == 2  # and its legend
    box = "(({left, top, right, bottom}) => [left, top, right, bottom])"
    boxes = browser.run(f"{items}.map((one) => {box}(one.getBoundingClientRect()))")
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] - 5 <= other[1]
            assert apart or other[3] - 5 <= one[1], "two modules overlap"

    # by keyboard: into the picture, to a group, open it, to a module in it, its facts
    browser.run("document.querySelector('.item[tabindex=\"0\"]').focus()")
    focus = "document.activeElement.getAttribute('aria-label')"
    expanded = "document.activeElement.getAttribute('aria-expanded')"
    browser.press("End")
    browser.press("ArrowUp")
    assert "modules in all" in browser.run(focus)
    assert browser.run(expanded) == "false"
    browser.press("ArrowRight")
    assert browser.run(expanded) == "true"
    assert browser.run(f"{items}.length") > len(labels)
    browser.press("ArrowRight")
    browser.press("Enter")
    chosen = browser.run("document.querySelector('#graph .panel h3').textContent")
    assert browser.run(focus).startswith(chosen)
    transform = "document.querySelector('.canvas > g').getAttribute('transform')"
    before = browser.run(transform)
    browser.press("+", "+")
    assert browser.run(transform) != before

    canvas = "document.querySelector('.canvas')"
    browser.run(f"{canvas}.scrollIntoView({{behavior: 'instant', block: 'center'}})")
    inside = "(({x, y}) => ({x: x + 9, y: y + 9}))"
    corner = browser.run(f"{inside}({canvas}.getBoundingClientRect())")
    for held, moves in ((2, True), (0, False)):  # Ctrl, or nothing and the focus elsewhere
        before = browser.run(transform)
        browser.run("document.activeElement.blur()")
        listen = "(next) => addEventListener('wheel', next, {once: true, passive: true})"
        browser.run(f"void (window.turned = new Promise({listen}))")
        browser.call("Input.dispatchMouseEvent", type="mouseWheel", deltaX=0, deltaY=-100,
                     modifiers=held, **corner)  # fmt: skip
        browser.run("window.turned.then(() => 0)")
        assert (browser.run(transform) != before) == moves

    # a search opens what hides a module
    browser.run("document.querySelector('#graph input').focus()")
    browser.type("lib277")
    assert browser.run("document.querySelector('#graph [role=status]').textContent") == "1 module"
    hit = "document.querySelector('.item.hit').getAttribute('aria-label')"
    assert browser.run(hit).startswith("lib277.so")
    assert browser.run("document.querySelectorAll('#picture .tree li').length") == 302
    # what a screen reader hears: a tree, and a name for everything that can have the focus
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    assert {"tree", "treeitem", "main", "navigation"} <= {node["role"]["value"] for node in nodes}
    for node in nodes:
        has = {one["name"]: one["value"].get("value") for one in node.get("properties", [])}
        assert not has.get("focusable") or node["name"]["value"], node
    assert browser.complaints == []


def test_tables_sort_and_search(show: Callable[..., Browser]) -> None:
    took = [0.01, 0.0095, 1.0]
    events = [{**event("x"), "id": 1 + at, "duration": took[at]} for at in range(3)]
    browser = show({**many(), "events": events})
    browser.run("document.querySelectorAll('#events thead button')[6].click()")
    rows = "[...document.querySelectorAll('#events tbody tr')]"
    times = browser.run(f"{rows}.map((row) => row.cells[6].innerText)")
    assert times == ["9.500", "10.000", "1000.000"]
    first = "document.querySelector('#modules tbody tr').cells[0].textContent.trim()"
    assert browser.run(first).startswith("host")
    browser.run("document.querySelector('#modules th button').focus()")
    browser.press("Enter", "\r")
    browser.press("Enter", "\r")
    assert browser.run("document.querySelector('#modules th').ariaSort") == "descending"
    assert browser.run(first).startswith("plugin.so")
    browser.run("document.querySelector('#modules input').focus()")
    browser.type("part3/ lib33.so")
    shown = (
        "[...document.querySelectorAll('#modules tbody tr')].filter((row) => !row.hidden).length"
    )
    assert browser.run(shown) == 0
    browser.run("document.querySelector('#modules input').select()")
    browser.type("part3 lib33.so")
    assert browser.run(shown) == 1


def test_it_reads_without_script_on_paper_and_on_a_telephone(
    show: Callable[..., Browser], browser: Browser, tmp_path: Path
) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        for _ in range(5):  # innerText is what is laid out, which may come after the load event
            show(many(), got(1, 10))
            words = browser.run("document.body.innerText")
            if "lib33.so" in words:
                break
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    for part in ("plugin called nobody.", "plugin.so+0x1001", "lib33.so", "it comes first",
                 "needs this page's own script", "Thread 1 plugin (selected)"):  # fmt: skip
        assert part in words

    show(many(), got(1, 10))
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        browser.size(400, 800)
        assert browser.run("document.documentElement.scrollWidth") <= 400
        ground = browser.run("getComputedStyle(document.documentElement).backgroundColor")
        assert (ground == "rgb(251, 250, 247)") == (scheme == "light")
    paper = tmp_path / "report.pdf"
    browser.print(paper)
    assert paper.read_bytes().startswith(b"%PDF")
    browser.prefer(media="print")
    inside = "getComputedStyle(document.querySelector('#threads details'), '::details-content')"
    assert browser.run(f"{inside}.contentVisibility") == "visible"
    slots = "getComputedStyle(document.querySelector('#all-slots')).display"
    assert browser.run(slots) == "none"
    quiet = "getComputedStyle(document.querySelector('#modules tr.quiet')).display"
    assert browser.run(quiet) == "none"
    assert browser.complaints == []
