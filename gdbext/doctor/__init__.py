"""`gdbext doctor`: what this GDB, its Python and this machine can do, and how to mend it."""
