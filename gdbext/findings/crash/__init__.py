"""Why the program crashed, and what lies near the crash."""
