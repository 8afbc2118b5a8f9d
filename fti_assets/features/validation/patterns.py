"""Regular expressions that Python and DuckDB's RE2 read alike."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LITERAL = r"[A-Za-z0-9 _\-:;,@#%&~=<>!\"'/]|\\[.^$*+?{}()|\[\]\\/\-]"
_CLASS = r"\[\^?(?:[A-Za-z0-9](?:-[A-Za-z0-9])?|[ _.,:;@#%=<>!\"'/+*?(){}$]|\\[.^$*+?{}()|\[\]\\/\-]|(?P<class_of_words>\\[dw]))+-?\]"
_TOKEN = re.compile(
    rf"(?P<atom>{_LITERAL}|{_CLASS}|(?P<any>\.|\\[dw]))|(?P<anchor>\^|(?P<end>\$))|(?P<group>\((?:\?:)?|\||\))"
)
_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d{1,3})(?:,(\d{0,3}))?\})\??(?![*+?{])")
_MOST_REPEATS = 200

PRINTABLE = "[ -~]*"
"""Text in which ``.``, ``\\d``, ``\\w`` and ``$`` mean the same to Python and RE2: no line ends, no letters beyond ASCII."""


@dataclass(frozen=True)
class SharedPattern:
    """A pattern of both; ``printable_only`` where they agree on printable ASCII text alone."""

    text: str
    printable_only: bool


def shared_pattern(pattern: object) -> SharedPattern | None:
    """The pattern if it is of the part that both engines read alike, else None: lookarounds, back-references, flags,
    repeated groups and whatever else is not known to be the same.

    >>> shared_pattern("[A-Z]{3}-[0-9]+")
    SharedPattern(text='[A-Z]{3}-[0-9]+', printable_only=False)
    >>> shared_pattern("^[A-Z]{3}$").printable_only
    True
    >>> shared_pattern("(?=a)b") is None
    True
    """
    if not isinstance(pattern, str):
        return None
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return None
    position, printable_only = 0, False
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:
            return None
        position = token.end()
        printable_only |= any(token[name] is not None for name in ("any", "end", "class_of_words"))
        quantifier = _QUANTIFIER.match(pattern, position)
        if quantifier is None:
            continue
        repeats = max((int(count) for count in quantifier.groups() if count), default=0)
        if token["atom"] is None or repeats > _MOST_REPEATS:
            return None
        position = quantifier.end()
    return SharedPattern(pattern, printable_only)
