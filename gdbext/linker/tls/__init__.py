"""Thread-local storage: modules, the static area, each thread's vector."""
