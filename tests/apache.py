"""Debian's apache2 with every module that it has."""

from __future__ import annotations

from pathlib import Path

from tests import oracles

APACHE = Path("/usr/sbin/apache2")
MODULES = Path("/usr/lib/apache2/modules")
# One of the three is enough, and apache takes no second one.
OTHERS = {"mod_mpm_worker.so", "mod_mpm_prefork.so"}
# What others need the functions of comes first.
FIRST = ("mod_mpm_event.so", "mod_proxy.so", "mod_dav.so", "mod_cache.so", "mod_session.so",
         "mod_watchdog.so", "mod_ldap.so", "mod_dbd.so", "mod_xml2enc.so")  # fmt: skip


def configuration(folder: Path) -> Path:
    """A configuration that loads every module, listens nowhere else than on loopback."""
    there = sorted(path.name for path in MODULES.glob("*.so"))
    names = sorted(there, key=lambda name: name not in FIRST)
    loads = []
    for name in names:
        if name not in OTHERS:
            identifier = module_name(MODULES / name)
            loads.append(f"LoadModule {identifier} {MODULES / name}")
    root = folder / "root"
    root.mkdir()
    text = "\n".join(
        [
            f"ServerRoot {root}",
            "ServerName localhost",
            "Listen 127.0.0.1:1",
            f"PidFile {root}/pid",
            f"ErrorLog {root}/log",
            *loads,
            "",
        ]
    )
    file = folder / "apache.conf"
    file.write_text(text)
    return file


def module_name(path: Path) -> str:
    """The one symbol in NAME_module that a module exports: its structure."""
    names = [s.name for s in oracles.nm_symbols(path) if s.kind in "DB"]
    (found,) = (name for name in names if name.endswith("_module"))
    return found
