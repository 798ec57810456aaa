"""The recorder's breakpoints. None of them ever stops the program.

What is done in stop() only reads registers and memory, which holds on GDB 13.1 and 18.1 (see
inferior/watchpoints.py for what was tried instead); no breakpoint is made or deleted there, one
is only switched on again, which takes effect before the program goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gdb

if TYPE_CHECKING:
    from gdbext.stops.recorder.hits import Recorder
    from gdbext.stops.recorder.sites import Site


class Point(gdb.Breakpoint):
    """A breakpoint at an address; subclasses say what is recorded there."""

    def __init__(self, recorder: Recorder, address: int) -> None:
        super().__init__(f"*{address:#x}", internal=True)
        self.silent = True
        self.recorder = recorder
        self.address = address

    def stop(self) -> bool:
        """Never: the program goes on."""
        try:
            self.hit()
        except gdb.error as error:  # the process is gone, or its memory: nothing to record
            self.recorder.note(str(error))
        return False

    def hit(self) -> None:
        """What this kind of breakpoint records."""
        raise NotImplementedError


class Entry(Point):
    """The first instruction of a function that is recorded."""

    def __init__(self, recorder: Recorder, site: Site, returns: tuple[Return, ...]) -> None:
        super().__init__(recorder, site.entry)
        self.site = site
        self.returns = returns

    def hit(self) -> None:
        for point in self.returns:
            if not point.enabled:  # it rests
                point.enabled = True
        self.recorder.entered(self.site)

    def rest(self) -> None:
        """No stop is needed where the function returns, until it is entered again."""
        for point in self.returns:
            point.enabled = False


class Return(Point):
    """A return instruction of such a function."""

    def __init__(self, recorder: Recorder, site: Site, address: int) -> None:
        super().__init__(recorder, address)
        self.site = site

    def hit(self) -> None:
        self.recorder.returned(self.site)


class Failure(Point):
    """A function of ld.so through which each failure goes."""

    def __init__(self, recorder: Recorder, name: str, address: int) -> None:
        super().__init__(recorder, address)
        self.name = name

    def hit(self) -> None:
        self.recorder.failed(self.name)


class Function(Point):
    """A constructor or destructor."""

    def __init__(self, recorder: Recorder, kind: str, address: int, path: str) -> None:
        super().__init__(recorder, address)
        self.kind = kind
        connection = getattr(gdb.selected_inferior(), "connection", None)  # from GDB 12 on
        self.native = connection is not None and connection.type == "native"
        self.path = path

    def hit(self) -> None:
        self.recorder.called(self.kind, self.address, self.path)
        # It is called once. Left where it is it would cost time at every change of the lists,
        # and GDB warns of breakpoints in a library that is unloaded. A stub cannot be written
        # to while the program runs.
        if self.native:
            gdb.post_event(self.remove)

    def remove(self) -> None:
        """Delete it, if GDB has not done so."""
        if self.is_valid():
            self.delete()
