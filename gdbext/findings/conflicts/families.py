"""Runtime libraries of which a process has more than one copy, told by what they export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gdbext.elf.hashes import probe
from gdbext.elf.problem import Problem
from gdbext.linker.loaded.modules import LINKER, Module
from gdbext.linker.loaded.tables import Tables
from gdbext.linker.lookup.lookup import Lookup

# Functions that a library of the family defines, whatever its file is called. Any one of a row
# will do; functions, since a program can have copies of data (COPY relocations).
FAMILIES: dict[str, tuple[str, ...]] = {
    "C++ standard library": (
        "_ZSt17__throw_bad_allocv",  # libstdc++
        "_ZNSt3__122__libcpp_verbose_abortEPKcz",  # libc++
        "_ZNSt3__16localeC1Ev",
    ),
    "C++ exceptions": ("__cxa_throw",),
    "unwinder": ("_Unwind_RaiseException",),  # libgcc_s, LLVM's libunwind
    "OpenMP": ("omp_get_max_threads",),  # libgomp, LLVM's libomp, Intel's libiomp5
    "BLAS": (
        "dgemm_",
        "cblas_dgemm",
        "dgemm_64_",
        "cblas_dgemm64_",
        "scipy_dgemm_",
        "scipy_dgemm_64_",
        "scipy_cblas_dgemm",
        "scipy_cblas_dgemm64_",
        "MKL_Get_Version",
    ),
    "OpenSSL": ("EVP_DigestInit_ex", "EVP_DigestInit", "SSLeay"),
    "memory allocator": ("malloc",),
    "protobuf": (
        "_ZN6google8protobuf8internal13VerifyVersionEiiPKc",
        "_ZN6google8protobuf14DescriptorPool14generated_poolEv",
    ),
    "LLVM": ("LLVMContextCreate", "_ZN4llvm11LLVMContextC1Ev"),
    "zlib": ("inflateInit2_", "zng_inflateInit2"),
    "Python": ("Py_InitializeEx",),
    "SQLite": ("sqlite3_open_v2",),
    "libxml2": ("xmlReadMemory",),
    "libcurl": ("curl_easy_init",),
    "GLib": ("g_main_context_new",),
    "HDF5": ("H5open",),
    "libuv": ("uv_loop_init",),
}


FAMILY_NAMES = tuple(name.encode() for names in FAMILIES.values() for name in names)


class Copy(NamedTuple):
    """One copy of a runtime: the module and the marks by which it was told."""

    module: Module
    exports: tuple[str, ...]


class Family(NamedTuple):
    """A runtime that is present more than once in one namespace, in load order."""

    name: str
    namespace: int
    copies: list[Copy]


def several_have(lookup: Lookup, modules: Iterable[Module]) -> bool:
    """Whether two of a few modules are copies of one family; find_families() asks all modules."""
    counts = Counter(family for module in modules for family in _families_of(lookup, module))
    return any(copies > 1 for copies in counts.values())


def _families_of(lookup: Lookup, module: Module) -> Iterator[str]:
    tables = lookup.tables.of(module)
    if tables is None:
        return
    try:
        for family, names in FAMILIES.items():
            if any(_defines(tables, name.encode()) for name in names):
                yield family
    except Problem:
        return  # what cannot be read does not count


def _defines(tables: Tables, name: bytes) -> bool:
    symbols = tables.symbols
    return any(
        number < symbols.count
        and symbols.is_named(number, name)
        and bool(symbols.entry(number).shndx)
        for number in probe(tables.memory, tables.image, name)
    )


def find_families(lookup: Lookup) -> list[Family]:
    """The families with several copies. Modules whose symbols cannot be read do not count."""
    lookup.definers.prepare(FAMILY_NAMES)
    found = []
    for family, names in FAMILIES.items():
        marks: dict[int, list[str]] = {}
        for name in names:
            for address, numbers in lookup.definers.of(name.encode()).items():
                symbols = lookup.tables_of(lookup.linker.by_map[address]).symbols
                if any(symbols.entry(number).shndx for number in numbers):
                    marks.setdefault(address, []).append(name)
        copies = [
            Copy(m, tuple(marks[m.map.address]))
            for m in lookup.linker.modules
            if m.map.address in marks and m.kind != LINKER  # ld.so's malloc is its own
        ]
        for namespace in sorted({copy.module.namespace for copy in copies}):
            here = [copy for copy in copies if copy.module.namespace == namespace]
            if len(here) > 1:
                found.append(Family(family, namespace, here))
    return found
