"""Every `set plug …`."""

from __future__ import annotations

import re
from collections.abc import Callable

import gdb

# The signal of the latest stop, if it was one.
last_signal: list[str] = []
# Called when `set plug stop-on-dlopen` has a new value.
dlopen_listeners: list[Callable[[], None]] = []
# Called with True or False when `set plug trace` has a new value.
trace_listeners: list[Callable[[bool], None]] = []
SETTINGS = (
    "plug stop-on-segv",
    "plug stop-on-dlopen",
    "plug trace",
    "plug trace-file",
    "plug trace-limit",
)
_PREFIX_HELP = "Settings of gdbext, which explains dynamic linking. See: help plug-links"


class _SetPlug(gdb.Command):
    __doc__ = _PREFIX_HELP

    def __init__(self) -> None:
        super().__init__("set plug", gdb.COMMAND_DATA, prefix=True)

    def invoke(self, argument: str, from_tty: bool) -> None:  # noqa: ARG002
        """Alone it lists the settings; with a word that is none of them it fails."""
        _refuse(argument, "set")
        gdb.execute("help set plug")


class _ShowPlug(gdb.Command):
    __doc__ = _PREFIX_HELP

    def __init__(self) -> None:
        super().__init__("show plug", gdb.COMMAND_DATA, prefix=True)

    def invoke(self, argument: str, from_tty: bool) -> None:  # noqa: ARG002
        """Alone it shows every setting."""
        _refuse(argument, "show")
        for name in SETTINGS:
            gdb.execute(f"show {name}")


def _refuse(argument: str, verb: str) -> None:
    if argument.strip():
        known = ", ".join(name.partition(" ")[2] for name in SETTINGS)
        raise gdb.GdbError(f"{verb} plug: no setting {argument.strip()!r}; there are: {known}")


class StopOnSegv(gdb.Parameter):
    """Explain a stop at SIGSEGV, SIGBUS, SIGILL, SIGABRT or SIGFPE by a report.

    It adds a report to stops that GDB makes anyway; `handle SIGSEGV nostop pass`
    means no stop and so no report."""

    set_doc = "Set whether a crash report is printed when a signal stops the program."
    show_doc = "Show whether a crash report is printed when a signal stops the program."

    def __init__(self) -> None:
        super().__init__("plug stop-on-segv", gdb.COMMAND_DATA, gdb.PARAM_BOOLEAN)
        self.value = True

    def get_show_string(self, value: str) -> str:
        """For `show plug stop-on-segv`."""
        return f"A crash report at SIGSEGV and its like is {value}."


class StopOnDlopen(gdb.Parameter):
    """Stop when a library is mapped and its constructors have not run.

    on: for every library; off: never; anything else: a regular expression that
    the path of a library that comes in must match. Libraries that the program
    starts with do not count."""

    set_doc = "Set whether to stop when dlopen brings a library in: on, off or a REGEX."
    show_doc = "Show whether to stop when dlopen brings a library in."

    def __init__(self) -> None:
        super().__init__("plug stop-on-dlopen", gdb.COMMAND_DATA, gdb.PARAM_STRING_NOESCAPE)
        self.value = "off"
        self._valid = "off"

    def get_set_string(self) -> str:
        """Check a new value; GDB has stored it already, so a bad one is taken back."""
        text = str(self.value or "off").strip()
        try:
            re.compile(text)
        except re.error as error:
            self.value = self._valid
            raise gdb.GdbError(
                f"set plug stop-on-dlopen: {text!r} is no regular expression: {error}"
            ) from error
        self.value = self._valid = text
        for listener in dlopen_listeners:
            listener()
        return ""

    def get_show_string(self, value: str) -> str:
        """For `show plug stop-on-dlopen`."""
        meaning = {"on": "for every library", "off": "never"}.get(value, "where the path matches")
        return f"Stopping at a dlopen is {value!r}: {meaning}."


class Trace(gdb.Parameter):
    """Record dlopen, dlmopen and dlclose, as plug-trace on does.

    plug-trace show prints it."""

    set_doc = "Set whether calls of dlopen and dlclose are recorded."
    show_doc = "Show whether calls of dlopen and dlclose are recorded."

    def __init__(self) -> None:
        super().__init__("plug trace", gdb.COMMAND_DATA, gdb.PARAM_BOOLEAN)
        self.value = False

    def get_set_string(self) -> str:
        """Start or end the recording."""
        for listener in trace_listeners:
            listener(bool(self.value))
        return ""

    def get_show_string(self, value: str) -> str:
        """For `show plug trace`."""
        return f"Recording of dlopen and dlclose is {value}."


class TraceFile(gdb.Parameter):
    """The next plug-trace on (or set plug trace on) writes every event to this
    file as well, one JSON document a line, each of them there at once. Empty:
    no file."""

    set_doc = "Set the file that plug-trace writes to while the program runs."
    show_doc = "Show the file that plug-trace writes to while the program runs."

    def __init__(self) -> None:
        super().__init__("plug trace-file", gdb.COMMAND_DATA, gdb.PARAM_OPTIONAL_FILENAME)
        self.value = ""

    def get_set_string(self) -> str:
        """Nothing is printed."""
        return ""

    def get_show_string(self, value: str) -> str:
        """For `show plug trace-file`."""
        return f"The trace is written to {value!r}." if value else "The trace is in memory alone."


class TraceLimit(gdb.Parameter):
    """When there are more, the oldest are dropped: the summary still counts them."""

    set_doc = "Set how many events plug-trace keeps in memory."
    show_doc = "Show how many events plug-trace keeps in memory."

    def __init__(self) -> None:
        super().__init__("plug trace-limit", gdb.COMMAND_DATA, gdb.PARAM_ZUINTEGER)
        self.value = 20_000

    def get_set_string(self) -> str:
        """Nothing is printed."""
        return ""

    def get_show_string(self, value: str) -> str:
        """For `show plug trace-limit`."""
        return f"plug-trace keeps the latest {value} events."


def register() -> None:
    """Make every setting known to GDB."""
    dlopen_listeners.clear()
    trace_listeners.clear()
    _SetPlug()
    _ShowPlug()
    StopOnSegv()
    StopOnDlopen()
    Trace()
    TraceFile()
    TraceLimit()


def stop_on_segv() -> bool:
    """`set plug stop-on-segv`."""
    return bool(gdb.parameter("plug stop-on-segv"))


def stop_on_dlopen() -> str:
    """`set plug stop-on-dlopen`: on, off, or a regular expression."""
    return str(gdb.parameter("plug stop-on-dlopen") or "off")


def trace_file() -> str:
    """`set plug trace-file`: '' for none."""
    return str(gdb.parameter("plug trace-file") or "")


def trace_limit() -> int:
    """`set plug trace-limit`: at least one."""
    return max(int(gdb.parameter("plug trace-limit") or 0), 1)
