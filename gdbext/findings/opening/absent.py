"""Why a file cannot be found or mapped: where it was searched for, what is there instead."""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterator

from gdbext.elf.foreign import describe_foreign
from gdbext.elf.soundness import (
    CANNOT_MAP,
    NOT_ELF,
    TRUNCATED,
    WRONG_CLASS,
    WRONG_MACHINE,
    Flaw,
    machine_name,
)
from gdbext.findings.opening.dlopen_errors import (
    MISSING_DEPENDENCY,
    MISSING_FILE,
    NO_PERMISSION,
    TOO_MANY_FILES,
    UNKNOWN,
    WRONG_LIBC,
    Cause,
)
from gdbext.findings.opening.prospects import Forecast, tried_words
from gdbext.linker.opening.filesystem import Refused
from gdbext.linker.opening.locate import CACHE, Lost, Place
from gdbext.linker.opening.prospect import Failure

_MUSL = re.compile(r"libc\.musl-[\w.-]+|ld-musl-[\w.-]+")
_GLIBC = re.compile(r"ld-linux[\w.-]*|libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2")
_MOST_NEAR = 3
_MOST_ELSEWHERE = 3


def explain_failure(forecast: Forecast, failure: Failure) -> Cause:
    """Why nothing is mapped for a name."""
    evidence = list(_asked(forecast, failure))
    if failure.flaw is not None and failure.located is not None:
        place = failure.located.place
        return _flawed(forecast, failure, place, failure.flaw, evidence)
    lost = failure.lost
    if lost is None:
        return Cause(UNKNOWN, f"{failure.name} cannot be mapped", tuple(evidence), "")
    decisive = _decisive(lost)
    if decisive is None:
        return _missing(forecast, failure, lost, evidence)
    place, why = decisive
    if isinstance(why, Flaw):
        return _flawed(forecast, failure, place, why, evidence)
    return _refused(forecast, place, why, evidence)


def _decisive(lost: Lost) -> tuple[Place, Flaw | Refused] | None:
    """Of the files that are there and were not taken, the one to speak of."""
    if lost.stopped:
        return lost.passed[-1]
    return next(iter(lost.passed), None)


def _asked(forecast: Forecast, failure: Failure) -> Iterator[str]:
    if failure.needed_by is not None and not failure.asked:
        tag = "DT_NEEDED" if failure.name in (failure.needed_by.needed or ()) else "DT_FILTER"
        yield f"{failure.needed_by.path} needs {failure.name} ({tag})"
        yield from forecast.whose(failure.needed_by)


def _missing(forecast: Forecast, failure: Failure, lost: Lost, evidence: list[str]) -> Cause:
    name = failure.name
    dependency = not failure.asked
    musl = forecast.host.musl
    other = (_GLIBC if musl else _MUSL).fullmatch(os.path.basename(name))
    evidence += tried_words(lost.tried)
    if lost.tried and lost.tried[0].rule == "path":
        gap = _gap(forecast, lost.tried[0].path)
        evidence.append(gap)
    elif forecast.host.search.cache and not any(p.rule == CACHE for p in lost.tried):
        evidence.append(f"/etc/ld.so.cache (ldconfig) has no {name}")
    if other is not None:
        whose = failure.needed_by.path if dependency and failure.needed_by else name
        mine, theirs = ("musl", "glibc") if musl else ("glibc", "musl")
        return Cause(
            WRONG_LIBC,
            f"{whose} was built for {theirs} (it needs {name}), and this process runs on {mine}",
            tuple(evidence),
            f"Use a build of {os.path.basename(whose)} for {mine}: two C libraries do not work in "
            "one process.",
        )
    near = _near(forecast, name, lost)
    evidence += near
    elsewhere = list(_elsewhere(forecast, name, lost))
    evidence += [f"{path} is there, in no directory that is searched" for path in elsewhere]
    if dependency and failure.needed_by is not None:
        owner = failure.needed_by.path
        message = f"{name}, which {owner} needs, is in no directory that is searched for it"
        if "/" in name:
            message = f"{name}, which {owner} needs, does not exist"
        remedy = f"Install the package that has {name}"
        if elsewhere:
            remedy = f"Add {os.path.dirname(elsewhere[0])} to LD_LIBRARY_PATH or to the RUNPATH of "
            remedy += f"{os.path.basename(owner)}"
        remedy += ", or load it by its path before." if elsewhere else ", or add its directory "
        remedy += "" if elsewhere else "to LD_LIBRARY_PATH before the program starts."
        return Cause(MISSING_DEPENDENCY, message, tuple(evidence), remedy)
    if "/" in name:
        remedy = f"Check the path; the process's working directory is {_directory(forecast)}."
        return Cause(MISSING_FILE, f"{name} does not exist", tuple(evidence), remedy)
    remedy = "Give dlopen a path with a slash, or put the directory into LD_LIBRARY_PATH."
    if elsewhere:
        remedy = f"Open it by its path, {elsewhere[0]}, or put its directory into LD_LIBRARY_PATH."
    message = f"{name} is in no directory that is searched for it"
    return Cause(MISSING_FILE, message, tuple(evidence), remedy)


def _directory(forecast: Forecast) -> str:
    return forecast.host.search.view.directory or "not known"


def _gap(forecast: Forecast, path: str) -> str:
    try:
        forecast.host.search.view.open(path)
    except Refused as refused:
        return refused.reason or str(refused)
    return f"{path} cannot be opened"


def _near(forecast: Forecast, name: str, lost: Lost) -> list[str]:
    """Names that are almost the one that is missing, where it was searched for."""
    wanted, view = os.path.basename(name), forecast.host.search.view
    found: list[str] = []
    for directory in dict.fromkeys(os.path.dirname(place.path) for place in lost.tried):
        names = [n for n in view.names(directory) if ".so" in n]
        stem = wanted.partition(".so")[0]
        close = [n for n in names if n.partition(".so")[0] == stem and n != wanted]
        close += difflib.get_close_matches(wanted, names, _MOST_NEAR, 0.85)
        found += [f"{directory}/{n}" for n in dict.fromkeys(close) if n != wanted]
    return [f"a similar name is there: {path}" for path in dict.fromkeys(found)][:_MOST_NEAR]


def _elsewhere(forecast: Forecast, name: str, lost: Lost) -> Iterator[str]:
    """The file in a directory that other modules come from."""
    view, tried = forecast.host.search.view, {place.path for place in lost.tried}
    wanted = os.path.basename(name)
    if not wanted:
        return
    folders = [os.path.dirname(m.path) for m in forecast.linker.modules if m.path.startswith("/")]
    folders += [f"{folder}/{sub}" for folder in list(folders) for sub in ("lib", "../lib")]
    seen = 0
    for folder in dict.fromkeys(os.path.normpath(f) for f in folders):
        path = f"{folder}/{wanted}"
        if path not in tried and view.exists(path):
            yield path
            seen += 1
            if seen == _MOST_ELSEWHERE:
                return


def _refused(forecast: Forecast, place: Place, why: Refused, evidence: list[str]) -> Cause:
    where = place.path
    if why.number in (errno.EACCES, errno.EPERM):
        evidence.append(why.reason or str(why))
        confined = forecast.host.rights.confined
        if confined:
            evidence.append(f"the process is confined as {confined}, which may refuse files too")
        fix = "Let the process read it: chmod a+r the file, and a+x each directory above it."
        return Cause(NO_PERMISSION, f"the process may not read {where}", tuple(evidence), fix)
    if why.number in (errno.EMFILE, errno.ENFILE):
        text = "too many files are open"
        return Cause(TOO_MANY_FILES, text, (*evidence, str(why)), "Raise RLIMIT_NOFILE.")
    if why.number == errno.EISDIR:
        text = f"{where} is a directory"
        return Cause(NOT_ELF, text, tuple(evidence), "Give the path of the library in it.")
    reason = why.reason or os.strerror(why.number)
    if why.number == errno.EINVAL:
        text = f"{where} is not a regular file"
        return Cause(NOT_ELF, text, tuple(evidence), "Give the path of a shared library (ELF).")
    return Cause(UNKNOWN, f"{where} cannot be opened: {reason}", tuple(evidence), "")


def _flawed(
    forecast: Forecast, failure: Failure, place: Place, flaw: Flaw, evidence: list[str]
) -> Cause:
    where = place.path
    if place.rule != "path":
        evidence.append(f"{where} was found by {place.owner}")
    others = _other_files(failure.lost, place)
    words = f"ld.so's words for it: {flaw.text}"
    evidence.append(words if flaw.text else "ld.so has no words for it: it dies of what is wrong")
    if flaw.kind == NOT_ELF:
        return _foreign(forecast, failure, where, evidence)
    message = f"{where} cannot be loaded: {flaw.detail}"
    if flaw.kind in (WRONG_CLASS, WRONG_MACHINE):
        evidence += others
        wanted = machine_name(forecast.host.arch.machine)
        if flaw.kind == WRONG_MACHINE:
            evidence.append("ld.so passes over such a file as if it were not there")
        remedy = f"Install the build of {os.path.basename(where)} for {wanted}."
        return Cause(flaw.kind, message, tuple(evidence), remedy)
    if flaw.kind == TRUNCATED:
        evidence.append("ld.so may not notice: it maps the file and dies of SIGBUS in what is gone")
        remedy = "Copy or install the file again, and check for a full disk."
        return Cause(TRUNCATED, message, tuple(evidence), remedy)
    remedy = "Build it as a shared library (-shared) without -z nodlopen."
    if flaw.kind == CANNOT_MAP or not flaw.text:
        remedy = f"Install {os.path.basename(where)} again: it is damaged."
    if "debug file" in flaw.detail:
        remedy = "Open the library itself; this file has its debug information alone."
    return Cause(flaw.kind, message, tuple(evidence), remedy)


def _other_files(lost: Lost | None, place: Place) -> list[str]:
    """What else was passed over."""
    if lost is None:
        return []
    return [
        f"{other.path} was passed over too: "
        + (why.detail if isinstance(why, Flaw) else (why.reason or str(why)))
        for other, why in lost.passed
        if other is not place
    ][:3]


def _foreign(forecast: Forecast, failure: Failure, where: str, evidence: list[str]) -> Cause:
    view = forecast.host.search.view
    foreign = describe_foreign(view.open(where).data)
    message = f"{where} is no library: it is {foreign.what}"
    base = os.path.basename(where)
    remedy = f"Install {base} again, and open the shared library itself."
    if foreign.libraries:
        real = next((n for n in foreign.libraries if ".so" in n), foreign.libraries[0])
        evidence.append(f"it stands for {', '.join(foreign.libraries)}")
        needy = failure.needed_by if not failure.asked else None
        if base == "libc.so" and needy is not None:
            evidence.append("a library that needs libc.so was linked with musl's")
            mine = "glibc" if not forecast.host.musl else "musl"
            return Cause(
                WRONG_LIBC,
                f"{needy.path} was built for musl (it needs {base}), and this process runs on "
                f"{mine}",
                tuple(evidence),
                f"Use a build of {os.path.basename(needy.path)} for {mine}: two C libraries do not "
                "work in one process.",
            )
        remedy = f"Open {real} instead: {base} is for linking alone."
    elif foreign.what.startswith("a text"):
        remedy = f"Give the path of a shared library (ELF): {base} is none."
    elif "static library" in foreign.what:
        remedy = "Link a shared library (.so) from it: only the linker can use an archive."
    return Cause(NOT_ELF, message, tuple(evidence), remedy)
