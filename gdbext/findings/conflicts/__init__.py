"""Definitions that lost to another module's, and runtimes that are there twice."""
