"""Which definition wins, by ld.so's own rules."""
