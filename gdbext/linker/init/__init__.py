"""Constructors and destructors, in ld.so's order."""
