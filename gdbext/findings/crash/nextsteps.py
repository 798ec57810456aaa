"""What to do next about a crash, by the rule that named its cause."""

from __future__ import annotations

from gdbext.findings.crash.scene import (
    CALL_UNLOADED,
    CONSTRUCTOR,
    EXECUTION,
    IN_UNLOADED,
    INTERPOSITION,
    NULL_SLOT,
    OVERFLOW,
    REDIRECTED,
    RUNTIMES,
    STRUCTS,
    UNLOADED_DATA,
    WILD_SLOT,
    WRITE_READ_ONLY,
    WRITE_RELRO,
)

_KEEP = (
    "Keep the library loaded (no dlclose, or RTLD_NODELETE) until its threads, callbacks and "
    "pointers to it are gone; plug-trace shows who closed it."
)
_WATCH = "Run it again under plug-watch with the slot's address to see who writes it."
_READ_ONLY = "Write to a copy of that data, or declare it writable where it is defined."

NEXT_STEPS = {
    NULL_SLOT: (
        "Load a library that defines the function before this call, or test its address first, "
        "as a weak reference demands."
    ),
    WILD_SLOT: _WATCH,
    CALL_UNLOADED: _KEEP,
    IN_UNLOADED: _KEEP,
    UNLOADED_DATA: _KEEP,
    REDIRECTED: _WATCH,
    INTERPOSITION: (
        "Hide the library's own symbols (-fvisibility=hidden, -Bsymbolic), or open it with "
        "RTLD_DEEPBIND; plug-symbol NAME -from MODULE shows why the other definition wins."
    ),
    WRITE_RELRO: _READ_ONLY,
    WRITE_READ_ONLY: _READ_ONLY,
    OVERFLOW: (
        "End the recursion, or give the thread a larger stack (ulimit -s, "
        "pthread_attr_setstacksize)."
    ),
    EXECUTION: "Find where the caller got that pointer from: it leads to data.",
    CONSTRUCTOR: (
        "Do not use the other library in this constructor, or make it a DT_NEEDED dependency so "
        "that it is initialised first; plug-init shows the order."
    ),
    STRUCTS: "Build both modules with the same headers, and see which one is older.",
    RUNTIMES: (
        "Link both modules to one copy of that library, or hide the symbols of one; "
        "plug-conflicts shows where each came from."
    ),
}
