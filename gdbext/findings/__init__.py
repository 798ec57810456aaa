"""What the facts mean. Pure: no GDB, no output."""
