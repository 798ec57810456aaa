"""C++ names as people write them, against c++filt."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbext.findings.cxxnames import is_plain, named, pattern_of
from tests import oracles
from tests.unit import samples

STDCXX = samples.LIBRARIES / "libstdc++.so.6"


@cache
def demangled() -> dict[str, str]:
    """libstdc++'s names, and what c++filt makes of them."""
    names = sorted({s.name for s in oracles.nm_symbols(STDCXX) if s.name.startswith("_Z")})
    done = subprocess.run(
        ["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True
    )
    return dict(zip(names, done.stdout.splitlines()))


@pytest.mark.parametrize(
    ("name", "mangled"),
    [
        ("operator new(unsigned long)", "_Znwm"),
        ("operator new[](unsigned long)", "_Znam"),
        ("operator delete(void*, unsigned long)", "_ZdlPvm"),
        ("std::terminate", "_ZSt9terminatev"),
        ("std::terminate()", "_ZSt9terminatev"),
        ("std::runtime_error::runtime_error(char const*)", "_ZNSt13runtime_errorC1EPKc"),
        ("std::exception::~exception()", "_ZNSt9exceptionD1Ev"),
        ("std::exception::what", "_ZNKSt9exception4whatEv"),
        ("std::ostream::flush", "_ZNSo5flushEv"),
        ("std::cout", "_ZSt4cout"),
        ("vtable for std::exception", "_ZTVSt9exception"),
        ("typeinfo for char", "_ZTIc"),
        ("std::string", None),  # nothing in it has a length
        ("std::ostream::operator<<(bool)", "_ZNSolsEb"),
        ("std::locale::operator=(std::locale const&)", "_ZNSt6localeaSERKS_"),
        ("std::locale::operator==(std::locale const&) const", "_ZNKSt6localeeqERKS_"),
    ],
)  # fmt: skip
def test_known_names(name: str, mangled: str | None) -> None:
    pattern = pattern_of(name)
    if mangled is None:
        assert pattern is None
    else:
        assert pattern is not None
        assert re.match(pattern, mangled.encode())
        assert mangled in demangled()


def test_every_name_of_libstdcxx_is_found_by_its_demangled_form() -> None:
    """Or has nothing that can be looked for, as templates of `std::string` alone."""
    everything = demangled()
    assert len(everything) > 4000
    missed: list[tuple[str, str]] = []
    unknown = 0
    for mangled, plain in everything.items():
        pattern = pattern_of(plain)
        if pattern is None:
            unknown += 1
        elif not re.match(pattern, mangled.encode()):
            missed.append((mangled, plain))
    assert missed == []
    assert unknown < len(everything) // 20


FUNCTIONS = {
    "_Z1fi": "f(int)", "_Z1fd": "f(double)", "_ZN1A1fEv": "A::f()", "_ZN1AC1Ev": "A::A()",
    "_ZN1AC2Ev": "A::A()", "_ZlsR1AS0_": "operator<<(A&, A&)", "_ZN1AclEv": "A::operator()()",
    "_ZN12_GLOBAL__N_11gEv": "(anonymous namespace)::g()",
    "_Z1hI1AIiEEvT_": "void h<A<int> >(A<int>)",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("f(int)", ["_Z1fi"]),
        ("f( int )", ["_Z1fi"]),
        ("f", ["_Z1fd", "_Z1fi"]),
        ("A::f", ["_ZN1A1fEv"]),
        ("A::A", ["_ZN1AC1Ev", "_ZN1AC2Ev"]),
        ("operator<<", ["_ZlsR1AS0_"]),
        ("A::operator()", ["_ZN1AclEv"]),
        ("A::operator()()", ["_ZN1AclEv"]),
        ("(anonymous namespace)::g", ["_ZN12_GLOBAL__N_11gEv"]),
        ("void h<A<int> >", ["_Z1hI1AIiEEvT_"]),
        ("h<A<int> >(A<int>)", ["_Z1hI1AIiEEvT_"]),
        ("g", []),
        ("", []),
    ],
)
def test_arguments_may_be_left_out(name: str, found: Sequence[str]) -> None:
    assert list(named(name, FUNCTIONS)) == list(found)


@pytest.mark.parametrize("name", ["puts", "_ZN1AC1Ev", "__libc_start_main", "a.b", "x$y"])
def test_c_names_are_plain(name: str) -> None:
    assert is_plain(name)


@pytest.mark.parametrize("name", ["a::b", "f(int)", "operator new", "~A", "a b", ""])
def test_others_are_not(name: str) -> None:
    assert not is_plain(name)


@given(st.text(alphabet='ab:<>()[]*&,~ operatornew=+-"\\^$.|?{}', max_size=40))
def test_any_text_gives_a_pattern_that_compiles(name: str) -> None:
    pattern = pattern_of(name)
    if pattern is not None:
        re.compile(pattern)
    named(name, FUNCTIONS)
