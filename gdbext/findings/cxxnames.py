"""From a C++ name as people write it to the linker's name: which mangled names it can be.

Source: Itanium C++ ABI, 5.1 (External Names); the operators are those of 5.1.3.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_OPERATORS = {
    "new": "nw", "new[]": "na", "delete": "dl", "delete[]": "da", "co_await": "aw", "~": "co",
    "+": "p[sl]", "-": "(?:ng|mi)", "*": "(?:de|ml)", "&": "a[dn]", "/": "dv", "%": "rm",
    "|": "or", "^": "eo", "=": "aS", "+=": "pL", "-=": "mI", "*=": "mL", "/=": "dV", "%=": "rM",
    "&=": "aN", "|=": "oR", "^=": "eO", "<<": "ls", ">>": "rs", "<<=": "lS", ">>=": "rS",
    "==": "eq", "!=": "ne", "<": "lt", ">": "gt", "<=": "le", ">=": "ge", "<=>": "ss", "!": "nt",
    "&&": "aa", "||": "oo", "++": "pp", "--": "mm", ",": "cm", "->*": "pm", "->": "pt",
    "()": "cl", "[]": "ix", '""': "li",
}  # fmt: skip
_CONVERSION = "cv"
# Sa, Sb, Ss, Si, So, Sd and St stand for these (5.1.8), single letters for built-in types (5.1.5.2)
_ABBREVIATED = frozenset({
    "std", "allocator", "basic_string", "string", "basic_istream", "basic_ostream",
    "basic_iostream", "istream", "ostream", "iostream",
    "const", "unsigned", "signed", "char", "short", "int", "long", "float", "double", "void",
    "bool", "wchar_t", "char8_t", "char16_t", "char32_t", "__int128", "decimal32", "decimal64",
    "decimal128", "__float128", "decltype", "nullptr",
})  # fmt: skip
_ABOUT = re.compile(r"(?:[\w-]+ )+(?:for|to) ")  # `vtable for`, `typeinfo name for`, `… thunk to`
_OPERATOR = re.compile(r"(?<!\w)operator(?!\w)\s*")
_SYMBOLS = sorted(map(re.escape, _OPERATORS), key=len, reverse=True)
_COMPLETE = re.compile("[CD]1E")
_TOKEN = re.compile("|".join(f"{one}(?!\\w)" if one[-1].isalpha() else one for one in _SYMBOLS))


def is_plain(name: str) -> bool:
    """Whether a name can only be the linker's own: C's, or mangled already."""
    return re.fullmatch(r"[\w.$]+", name) is not None and name != "operator"


def pattern_of(name: str) -> bytes | None:
    """A regular expression that all mangled names begin with which can mean `name`.

    None where nothing in it can be looked for.
    """
    about = _ABOUT.match(name)
    start = about.end() if about else 0
    operator = _OPERATOR.search(name, start)
    if operator is not None:
        token = _TOKEN.match(name, operator.end())
        code = _OPERATORS[token[0]] if token else _CONVERSION
        return b"_Z[^\\0]*?" + _length_and_word(name[start : operator.start()]) + code.encode()
    word = _length_and_word(_qualified(name[start:]))
    if not word and name.startswith("typeinfo "):
        return b"_ZT[IS]"
    return b"_Z[^\\0]*?" + word if word else None


def named(name: str, plain: Mapping[str, str]) -> dict[str, str]:
    """Those of {mangled: demangled} that `name` means, with its arguments or without.

    Constructors and destructors have several symbols; that of complete objects comes first.
    """
    wanted = _squeezed(name)
    found: dict[str, str] = {}
    rules: tuple[Callable[[str], bool], ...] = (
        lambda text: _squeezed(text) == wanted,
        lambda text: _squeezed(_qualified(text)) == wanted,
        # functions that a template made are shown with what they return
        lambda text: "(" in name and text.endswith(f" {' '.join(name.split())}"),
    )
    for means in rules:
        found = {m: text for m, text in plain.items() if means(text)}
        if found:
            break
    return dict(sorted(found.items(), key=lambda row: (not _COMPLETE.search(row[0]), row[0])))


def _length_and_word(name: str) -> bytes:
    """`5Codec` for the last part of a qualified name, where it is mangled like that."""
    while (shorter := re.sub(r"<[^<>]*>", "", name)) != name:
        name = shorter
    words = re.findall(r"[A-Za-z_]\w*", name)
    if not words or words[-1] in _ABBREVIATED:
        return b""
    return b"%d%s[^\\0]*?" % (len(words[-1].encode()), re.escape(words[-1].encode()))


def _qualified(text: str) -> str:
    """A demangled name without its arguments and what follows them."""
    start = 0
    operator = _OPERATOR.search(text)
    if operator is not None:
        token = _TOKEN.match(text, operator.end())
        start = token.end() if token else operator.end()
    depth = 0
    for place in range(start, len(text)):
        if text[place] in "<":
            depth += 1
        elif text[place] == ">":
            depth -= 1
        elif text[place] == "(" and depth <= 0 and not text.startswith("(anonymous", place):
            return text[:place]
    return text


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)
