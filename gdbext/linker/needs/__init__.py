"""Who needs what, and by which rule each file was found."""
