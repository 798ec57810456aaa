"""By which rule ld.so found each library, as LD_DEBUG=libs tells it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.oracles import PID_PREFIX

HEADING = re.compile(r"^ *search (?:path=.*\((?P<rule>[A-Za-z_ ]+?)(?: from file .*)?\)|cache=)")
WORDS = {"system search path": "default"}


def parse_searches(text: str) -> dict[str, str]:
    """{file name: rule} of each library that was searched for; the last place tried is it."""
    found: dict[str, str] = {}
    name = rule = ""
    for line in PID_PREFIX.sub("", text).splitlines():
        asked = re.match(r" *find library=(?P<name>.*?) \[\d+\]; searching", line)
        heading = HEADING.match(line)
        if asked:
            name, rule = os.path.basename(asked["name"]), ""
        elif heading:
            rule = WORDS.get(heading["rule"], heading["rule"]) if heading["rule"] else "cache"
        elif line.lstrip().startswith("trying file=") and name:
            found[name] = rule
    return found


def parse_found(text: str) -> dict[str, str]:
    """{l_name: rule} of each file that a search tried last; those that were found are l_names."""
    found: dict[str, str] = {}
    rule = last = ""
    for line in PID_PREFIX.sub("", text).splitlines():
        heading = HEADING.match(line)
        if heading:
            rule = WORDS.get(heading["rule"], heading["rule"]) if heading["rule"] else "cache"
        elif line.lstrip().startswith("trying file="):
            last = line.partition("=")[2]
        elif last:
            found[last], last = rule, ""
    return found


def read_searches(output: Path) -> dict[str, str]:
    """What LD_DEBUG_OUTPUT=OUTPUT left in OUTPUT.PID, which must be one file."""
    (written,) = output.parent.glob(f"{output.name}.*")
    return parse_searches(written.read_text(errors="surrogateescape"))
