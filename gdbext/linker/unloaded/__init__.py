"""What was loaded once, and what is left of it."""
