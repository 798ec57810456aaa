"""What the bytes of one ELF image say, from memory or from a file. Pure: no GDB, no output."""
