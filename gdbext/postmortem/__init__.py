"""Post-mortems from the shell: a GDB of its own reads the target and reports."""
