"""The parser of LD_DEBUG=bindings on what ld.so wrote, and a judge that finds what is wrong."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tests import bindings, references
from tests.bindings import Bindings
from tests.references import DynamicSymbol

LOG = (
    "     31671:\tfile=libb.so [0];  needed by ./host [0]\n"
    "     31671:\tfile=libb.so [0];  generating link map\n"
    "     31671:\tbinding file ./host [0] to /x/liba.so [0]: normal symbol `twin'\n"
    "     31671:\tbinding file /x/libb.so [0] to /x/libb.so [0]: protected symbol `own' [V_1.0]\n"
    "     31671:\tbinding file /x/a\nb.so [2] to /x/liba.so [0]: normal symbol `it's [0]'\n"
    "     31671:\tbinding file /x/gone.so [0] to /x/liba.so [0]: normal symbol `twin'\n"
    "     31671:\t\n"
    "     31671:\tfile=/x/gone.so [0];  destroying link map\n"
)


def test_bindings_of_one_process() -> None:
    found = bindings.parse_bindings(LOG)
    assert found.found == {
        (0, "./host"): {("twin", ""): [(0, "/x/liba.so")]},
        (0, "/x/libb.so"): {("own", "V_1.0"): [(0, "/x/libb.so")]},
        (2, "/x/a\nb.so"): {("it's [0]", ""): [(0, "/x/liba.so")]},
    }
    assert (found.lines, found.protected, found.unloaded) == (4, 1, 1)
    assert found.others == {}


def test_bindings_of_several_processes() -> None:
    text = (
        "         7:\tbinding file /x/a [0] to /x/b [0]: normal symbol `mine' [V]\n"
        "         8:\tbinding file /x/a [0] to /x/c [0]: normal symbol `forked' [V]\n"
        "         7:\tbinding file /x/a [0] to /x/b [0]: normal symbol `torn'"
        "         8:\tbinding file /x/a [0] to /x/c [0]: normal symbol `other' [V]\n [W]\n"
        "         7:\tbinding file /x/a [0] to /x/b [0]: normal symbol `whole' [V]\n"
    )
    found = bindings.parse_bindings(text, {7})
    assert found.found == {
        (0, "/x/a"): {("mine", "V"): [(0, "/x/b")], ("whole", "V"): [(0, "/x/b")]}
    }
    assert found.others == {
        (0, "/x/a"): {
            ("forked", "V"): [(0, "/x/c")],
            ("torn", "*"): [(0, "/x/b")],
            ("other", "*"): [(0, "/x/c")],
        }
    }
    assert found.lines == 3


def test_readelf_symbols() -> None:
    text = (
        "Symbol table for image contains 4 entries:\n"
        "   Num:    Value          Size Type    Bind   Vis      Ndx Name\n"
        "     0: 0000000000000000     0 NOTYPE  LOCAL  DEFAULT  UND \n"
        "     1: 0000000000000000     0 NOTYPE  WEAK   DEFAULT  UND __gmon_start__\n"
        "     5: 0000000000001114    11 FUNC    GLOBAL PROTECTED   10 twin@@V3\n"
        "     6: 0000000000000000     0 FUNC    GLOBAL DEFAULT [VARIANT_PCS] UND f@G_2.2 (2)\n"
    )
    assert references.parse_readelf_symbols(text) == [
        DynamicSymbol(0, "NOTYPE", "WEAK", "DEFAULT", "UND", "__gmon_start__", ""),
        DynamicSymbol(0x1114, "FUNC", "GLOBAL", "PROTECTED", "10", "twin", "V3"),
        DynamicSymbol(0, "FUNC", "GLOBAL", "DEFAULT", "UND", "f", "G_2.2"),
    ]


def slot(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "address": "0x1000", "type": "R_X86_64_JUMP_SLOT", "symbol": "twin", "version": None,
        "state": "bound", "provider": "/x/liba.so", "definition": "twin",
        "expected": "/x/liba.so", "verdict": "ok", "reason": None, **changes,
    }  # fmt: skip


def judgement(only: dict[str, Any], log: Bindings | None = None) -> bindings.Judgement:
    module = {"path": "/x/host", "namespace": 0, "slots": [only]}
    modules = [
        {"path": f"/x/{name}", "name": f"/x/{name}" if name != "host" else "", "binding": "lazy"}
        for name in ("host", "liba.so", "libb.so")
    ]
    links = {"namespaces": [{"index": 0, "modules": modules}]}
    return bindings.judge_documents(
        {"modules": [deepcopy(module)]}, links, log or bindings.parse_bindings(LOG)
    )


def test_agreement() -> None:
    found = judgement(slot())
    assert (found.compared, found.agreed, found.logged) == (1, 1, 1)
    assert list(bindings.disagreements(found)) == []


def test_another_module_is_a_disagreement() -> None:
    for wrong in ("/x/libb.so", None):
        (said,) = bindings.disagreements(judgement(slot(expected=wrong)))
        assert said.endswith("ld.so says /x/liba.so")


def test_no_verdict_is_no_agreement() -> None:
    found = judgement(slot(expected=None, verdict="unverified", reason="why"))
    assert list(bindings.disagreements(found)) == ["1 slots are not verified: why"]
    assert (found.compared, found.agreed) == (0, 0)
    wrong = slot(expected="/x/libb.so", verdict="unverified", reason="why")
    assert len(judgement(wrong).disagreements) == 1


def test_stale_must_lead_to_what_ld_so_bound() -> None:
    stale = slot(verdict="stale", expected="/x/libb.so")
    assert judgement(stale).agreed == 1
    assert judgement({**stale, "provider": "/x/libb.so"}).agreed == 0
    assert judgement({**stale, "expected": "/x/liba.so"}).agreed == 0


def test_lazy_slots_have_no_line() -> None:
    found = judgement(slot(state="lazy", expected="/x/libb.so", symbol="never"))
    assert (found.compared, found.unlogged["that are lazy"]) == (0, 1)
