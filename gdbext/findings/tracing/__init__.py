"""What a trace has recorded, and what it shows."""
