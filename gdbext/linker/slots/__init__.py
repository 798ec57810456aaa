"""Each relocated slot, its state, and where it leads."""
