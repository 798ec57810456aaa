"""The frame of every page: head, policy, style, data and script in one file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gdbext.render.html.markup import Markup, join, tag, text

# In JSON inside a script element nothing may end the element or start a comment; the other two end
# a line in old JavaScript. json.dumps has escaped everything that is not ASCII already.
_UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def page(
    title: str,
    body: Iterable[str],
    data: Mapping[str, Any] | None = None,
    script: Sequence[str] = (),
) -> Iterator[str]:
    """A whole HTML document in pieces, to be written one behind the other.

    `body` is Markup or text. `data` is what the script finds as JSON in the element #data. `script`
    names files of this folder. The policy allows this style and this script by their hashes and
    forbids everything else: other scripts and styles, images, fonts, connections, forms, frames.
    """
    style = asset("report.css")
    code = "\n".join(asset(name) for name in script)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{digest(code)}'" if code else "script-src 'none'",
            f"style-src '{digest(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    yield '<!DOCTYPE html>\n<html lang="en">\n'
    yield tag("head", join(head, Markup("\n"))) + "\n<body>\n"
    for part in body:
        yield text(part) + "\n"
    if data is not None:
        yield '<script type="application/json" id="data">'
        yield embedded(data)
        yield "</script>\n"
    if code:
        yield tag("script", Markup(code), type="module") + "\n"
    yield "</body>\n</html>\n"


def asset(name: str) -> str:
    """A style or script of this folder."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def digest(code: str) -> str:
    """The hash by which a policy names an inlined style or script (CSP level 3, 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}"


def embedded(data: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element."""
    return json.dumps(data, separators=(",", ":")).translate(_UNSAFE)
