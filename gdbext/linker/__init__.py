"""What ld.so thinks: the state of the dynamic linker in one process. Pure: no GDB, no output."""
