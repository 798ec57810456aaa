"""What decides whether a file can be opened, and what a failure leaves behind."""
