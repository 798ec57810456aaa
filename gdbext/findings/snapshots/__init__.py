"""Snapshots of a process's linking state, and how two of them differ."""
