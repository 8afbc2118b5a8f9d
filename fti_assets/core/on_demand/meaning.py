"""What an on-demand function means: a hash of its code and of all that it reaches, which comments and layout do not change.

The code is read as a syntax tree, without comments, docstrings, annotations of functions and line breaks. What counts is the
function, the names of its module that it mentions and those that these mention, near and far: constants, helpers, classes,
and imports from modules of the user's own, which are followed in the same way. Other functions of these modules do not count.
Where a module that runs with it changes another, or code looks for names by text, all code of these modules counts.

What is read of the modules before a function is followed (``surroundings.py``) is shared by the functions of one module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from fti_assets.core.on_demand.reach import Reach
from fti_assets.core.on_demand.surroundings import Surroundings
from fti_assets.core.on_demand.syntax.memos import is_memo
from fti_assets.core.on_demand.syntax.source import remember, share
from fti_assets.core.on_demand.tricks import formats_by_a_name, reads_docs, reads_words, refuse_layout
from fti_assets.errors import DeclarationError

_READINGS = ("by memo", "by annotation", "by effect", "what is read", "by attribute", "whole")
"""What counts, in this release and earlier ones: each takes more than the one before, the first alone what fills a memo."""


def meaning(module: str, function: str, requires: Iterable[str] = ()) -> str:
    """The SHA-256 of what a function of a module means.

    Args:
        module: the module.
        function: the function's name in it.
        requires: packages of others that it needs, whose releases are compared in place of their code.

    Raises:
        DeclarationError: the module has no source file, cannot be read, or does not define the function.
    """
    return _meaning(module, function, _READINGS[0], " ".join(sorted(requires)))


def has_meaning(module: str, function: str, meaning_before: str, requires: Iterable[str] = ()) -> bool:
    """Whether a function means what was once written down, by this release or an earlier one.

    An earlier one took the whole of a module that is imported as such, where this one takes what is used of it, or also took what
    nothing reads: annotations of constants, what runs only where the module is the program, and what only reads a constant; or the
    places of constants, and what is only made beside them of the same classes, functions and tables; or what annotations of functions
    say, as if it were used.

    Raises:
        DeclarationError: as ``meaning``.
    """
    libraries = " ".join(sorted(requires))
    return any(meaning_before == _meaning(module, function, counts, libraries) for counts in _READINGS)


@remember
def _meaning(module: str, function: str, counts: str, libraries: str = "") -> str:
    """The hash, where modules that are imported as such count whole, by their attributes that are used, by what is read of that, or
    by what is read or changed of it.

    An earlier reading took no call for a change that fills a memo: it says what it said then where no such call is left out by it.
    """
    code, counted, has_memos = _code(module, function, counts, libraries, by_memo=True)
    if has_memos:
        code = ["by memo", counts, code]
        if counts != _READINGS[0]:
            earlier, counted_earlier, _ = _code(module, function, counts, libraries, by_memo=False)
            code = earlier if counted_earlier == counted else code
    text = json.dumps(code, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _code(
    module: str, function: str, counts: str, libraries: str = "", *, by_memo: bool
) -> tuple[list[Any], list[Any], bool]:
    """What counts as lists of texts, which statements that is, and whether a memo is among it."""
    with _surroundings(module, counts, "by memo" if by_memo else "", libraries) as surroundings:
        if surroundings.is_used and surroundings.rests_on_order:
            return _code_within(surroundings.anew(), module, function, counts)
        is_first, surroundings.is_used = not surroundings.is_used, True
        code = _code_within(surroundings, module, function, counts)
        if is_first or not surroundings.rests_on_order:
            return code
        return _code_within(surroundings.anew(), module, function, counts)


@share
def _surroundings(module: str, counts: str, by_memo: str, libraries: str) -> Surroundings:
    by_annotation, by_effect, without_reads = (counts in _READINGS[:end] for end in (2, 3, 4))
    return Surroundings.read(
        module,
        by_annotation=by_annotation,
        by_effect=by_effect,
        without_reads=without_reads,
        by_memo=bool(by_memo),
        libraries=frozenset(libraries.split()),
    )


def _code_within(
    surroundings: Surroundings, module: str, function: str, counts: str
) -> tuple[list[Any], list[Any], bool]:
    reach = Reach(surroundings, by_attribute=counts != "whole")
    reach.name(module, function)
    if not surroundings.module(module).binds(function):
        raise DeclarationError(f"module {module!r} defines no function {function!r}")
    statements = reach.statements()
    refuse_layout(statements)
    by_format = surroundings.by_annotation and formats_by_a_name(statements)
    with_words = by_format or reads_words(statements)
    with_all_docs = by_format or reads_docs(statements)
    is_whole = surroundings.is_tricky(reach.parts, statements)
    code = surroundings.code(with_words) if is_whole else reach.code(with_words, with_all_docs)
    if by_format:
        code = ["by format", code]  # which no earlier reading gives: it took no docstrings then
    parts = sorted(reach.parts.items())
    counted = [is_whole, *([name, sorted(part.indexes), sorted(part.imports)] for name, part in parts)]
    has_memos = any(is_memo(part.module, one) for _, part in parts for one in part.statements)
    return code, counted, has_memos
