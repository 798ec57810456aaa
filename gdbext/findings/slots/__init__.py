"""Verdicts: whether a slot holds what ld.so's own lookup gives."""
