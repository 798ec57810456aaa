"""The event recorder behind plug-trace; stops/trace.py starts and ends it."""
