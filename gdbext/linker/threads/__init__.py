"""Threads: where each one began, what it waits for, the loader's locks."""
