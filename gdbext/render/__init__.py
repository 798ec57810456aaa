"""Facts to text, JSON, HTML. It is handed plain facts and knows nothing of where they came from."""
