"""The signature of a crash: what the cores of one bug have in common.

It is worked out from a report's document alone, so a core and a live process give the same one:

1. What happened: the rule of the cause, or the signal where no rule fired.
2. Where: frames of the crashing thread. Each is its module and the offset in it, never an address,
   so that neither randomisation nor the path matter. A module is told by its build-id (a plugin
   may be extracted under another name each time), by its file's name where it has none, and
   where it was unloaded, since then a build-id is known to a live process alone.
3. Which frames: innermost ones of the C and C++ run-time libraries and of abort() say how the
   program gave up, and which memcpy() this CPU gets; start-up code says nothing. They do not
   count. Of the others each counts once, so that the depth of a recursion does not matter, and
   the first DEPTH do.
4. Where a stack overflowed: the functions of the recursion, wherever in them the stack ended.
5. Where a core holds nothing that says what is loaded, a frame in a mapped file is the file's name
   and the offset in the file. (Else it is generated code, whose file has a new name each time.)
6. Any other frame in no module counts as `null` or `nowhere`. If there is no other, the program's
   name counts too.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gdbext.findings.crash.scene import OVERFLOW

DEPTH = 5  # frames; fewer would merge the bugs of one helper, more would part the ways to one bug
_RECURSION = 8  # how often a frame of an endless recursion is there
_VERSION = "gdbext/signature/2"  # part of what is hashed: another rule gives other signatures
_C_LIBRARY = re.compile(
    r"(libc|libpthread)(\.so(\.\d+)?|-2\.\d+\.so)|(ld-|libc\.)musl-\w+\.so\.1|linux-vdso\.so\.1"
)
_RUNTIME = re.compile(
    _C_LIBRARY.pattern
    + r"|lib(stdc\+\+|c\+\+|c\+\+abi|gcc_s|unwind|[alt]san|ubsan|hwasan)\.so\.\d+"
)
# Static programs have these in their own module.
_GIVES_UP = frozenset({
    "abort", "gsignal", "raise", "kill", "tgkill", "pthread_kill", "__pthread_kill",
    "__pthread_kill_implementation", "__pthread_kill_internal", "__libc_message",
    "__assert_fail", "__assert_fail_base", "__fortify_fail", "__chk_fail", "__stack_chk_fail",
    "malloc_printerr",
})  # fmt: skip


class Site(NamedTuple):
    """One frame of a signature. `module` is a file name, None where the PC lies in no file; then
    `kind` (null or nowhere) says all. `offset` is as addr2line takes it, of the kind `file` that
    in the file; `symbol` is a label for people and not part of what is compared."""

    kind: str
    module: str | None = None
    build_id: str | None = None
    offset: str | None = None
    symbol: str | None = None

    @property
    def identity(self) -> str:
        """What is compared."""
        if self.module is None:
            return self.kind
        if self.kind in ("unloaded", "file"):
            return f"{self.kind} {self.module}+{self.offset}"
        return f"{self.build_id or self.module}+{self.offset}"

    @property
    def label(self) -> str:
        """`libplugin.so+0x1117 plugin_run`."""
        if self.module is None:
            return self.kind
        words = [f"{self.module}+{self.offset}", self.symbol or ""]
        words += ["(unloaded)"] if self.kind == "unloaded" else []
        return " ".join(filter(None, words))


class Signature(NamedTuple):
    """`id`: 16 hexadecimal digits. `what`: a rule of a cause, or a signal."""

    id: str
    what: str
    sites: tuple[Site, ...]


def signature(report: Mapping[str, Any]) -> Signature:
    """The signature of a crash by its report, a document of the schema gdbext/report/1."""
    cause = report["cause"]
    what = cause["rule"] if cause else report["signal"] or "no signal"
    program = report["program"]
    frames = report["frames"][report["fault_level"] :]  # those of a handler are all alike
    sites = [_site(frame, report["links"] is None) for frame in frames]
    loop = _recursion(sites) if what == OVERFLOW else []
    chosen = loop or _once(_that_count(sites, program and _file_name(program)))[:DEPTH]
    words = [_VERSION, what, *(site.identity for site in chosen)]
    if not any(site.module for site in chosen):
        words.append(f"program {_file_name(program or '')}")
    digest = hashlib.sha256("\n".join(words).encode("utf-8", "backslashreplace")).hexdigest()
    return Signature(digest[:16], what, tuple(chosen))


def _site(frame: Mapping[str, Any], bare: bool) -> Site:
    """`bare`: it is not known which modules there are."""
    label = frame["demangled"] or frame["symbol"]
    if frame["unloaded"]:
        name = _file_name(frame["module"] or "a library")
        return Site("unloaded", name, None, frame["offset"], label)
    if bare and frame["mapped_file"] is not None:
        name = _file_name(frame["mapped_file"])
        return Site("file", name, None, frame["file_offset"], label)
    if frame["module"] is None:
        return Site("null" if frame["kind"] == "null" else "nowhere", symbol=label)
    name = _file_name(frame["module"])
    return Site("module", name, frame["build_id"], frame["offset"], label)


def _file_name(path: str) -> str:
    return os.path.basename(path.removesuffix(" (deleted)")) or path


def _recursion(sites: Sequence[Site]) -> list[Site]:
    """The frames that are there again and again, in an order that does not depend on the last."""
    counts = Counter(site.identity for site in sites)
    again = {site.identity: site for site in sites if counts[site.identity] >= _RECURSION}
    return [again[identity] for identity in sorted(again)][:DEPTH]


def _once(sites: Sequence[Site]) -> list[Site]:
    return list({site.identity: site for site in reversed(sites)}.values())[::-1]


def _that_count(sites: Sequence[Site], program: str | None) -> Sequence[Site]:
    """Without run-time libraries at the inner end and start-up code at the outer one; all of them
    where nothing would be left."""
    start = next((at for at, site in enumerate(sites) if not _is_runtime(site)), len(sites))
    inner = sites[start:] or sites
    return inner[: _startup(inner, program)] or inner


def _is_runtime(site: Site) -> bool:
    return site.symbol in _GIVES_UP or bool(site.module and _RUNTIME.fullmatch(site.module))


def _startup(sites: Sequence[Site], program: str | None) -> int:
    """Where the start-up code begins. GDB itself ends a stack at main(), if it knows main()."""
    for at, site in enumerate(sites):
        if site.symbol == "main" and site.module == program:
            return at + 1
    end = len(sites)
    while end and len(sites) - end < 2 and sites[end - 1].module == program:
        end -= 1  # _start, and musl's _start_c
    if not end or not _is_c_library(sites[end - 1]):
        end = len(sites)
    while end and _is_c_library(sites[end - 1]):
        end -= 1  # __libc_start_main, or the start of a thread
    return end


def _is_c_library(site: Site) -> bool:
    return bool(site.module and _C_LIBRARY.fullmatch(site.module))
