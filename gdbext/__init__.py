"""gdbext: explains dynamic linking from inside GDB. Importing does nothing; load() does."""

__version__ = "0.1.0"
__all__ = ["__version__", "load", "unload"]


def load() -> None:
    """Register every `plug-` command and setting with the GDB that runs this Python."""
    from gdbext import commands, settings, stops

    settings.register()
    commands.register()
    stops.connect()


def unload() -> None:
    """Disconnect what load() connected, so that loading again doubles nothing."""
    from gdbext import stops

    stops.disconnect()
