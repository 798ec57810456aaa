"""What the model asks of one process: its memory, its mappings, how it was started."""
