"""Exit statuses that scripts can trust."""

DONE = 0
FINDINGS = 1  # where an option asks for that
FAILED = 2  # could not do the job
INTERRUPTED = 130  # by Ctrl-C, as shells have it
