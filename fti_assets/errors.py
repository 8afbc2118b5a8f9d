"""One tree of exceptions.

FtiError
├── DeclarationError       something impossible was declared; raised while the code loads
├── MissingExtraError      an optional dependency is not installed
├── DataError              rows that break a declaration; nothing was stored
│   ├── SchemaChangedError     the stored table of this version has another schema
│   └── LookbackError          a row is needed from before the lookback, or a partition is missing
├── StoreError             a store cannot be read or written
│   ├── NotMaterializedError   the table, partition or build is not there yet
│   ├── DamagedError           bytes on disk are not the bytes that were written
│   └── AliasConflictError     the champion changed while a model was being judged
├── EngineError            an engine cannot be reached, or cannot run a plan; nothing was stored
├── ModelError             a model cannot be trained, exported or judged
│   └── ExportError            the exported graph differs from the trained model
└── PredictionError        an online request cannot be answered
    ├── RequestError           the request itself is wrong
    └── NoChampionError        the model has no champion to serve
"""

import re
import reprlib
from collections.abc import Iterable
from typing import Any

_LONGEST = 4_000
_LONG_WORD = re.compile(r"(\S{200})\S{200,}(\S{100})")


class FtiError(Exception):
    """Everything this library raises on purpose. Its text has at most 4,000 characters, whatever it names."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*(shorten(one) if isinstance(one, str) else one for one in arguments), **keywords)


class DeclarationError(FtiError):
    """Something impossible was declared."""


class MissingExtraError(FtiError, ImportError):
    """An optional dependency is not installed."""


class DataError(FtiError):
    """Rows break a declaration. Nothing was stored."""


class SchemaChangedError(DataError):
    """The stored table of this version has another schema."""


class LookbackError(DataError):
    """A window needs a row or a partition that it cannot see."""


class StoreError(FtiError):
    """A store cannot be read or written."""


class NotMaterializedError(StoreError):
    """The table, partition or build is not there yet."""


class DamagedError(StoreError):
    """Bytes on disk are not the bytes that were written."""


class AliasConflictError(StoreError):
    """The champion changed while a model was being judged."""


class EngineError(FtiError):
    """An engine cannot be reached, or cannot run a plan. Nothing was stored."""


class ModelError(FtiError):
    """A model cannot be trained, exported or judged."""


class ExportError(ModelError):
    """The exported graph differs from the trained model."""


class PredictionError(FtiError):
    """An online request cannot be answered."""


class RequestError(PredictionError):
    """The request itself is wrong."""


class NoChampionError(PredictionError):
    """The model has no champion to serve."""


def shorten(text: str) -> str:
    """A text of at most 4,000 characters, in which no word is longer than 500: what is in the middle of either is left out.

    >>> len(shorten("no such file: " + "x" * 1_000_000))
    317
    """
    if len(text) <= 500:
        return text
    if len(text) > 100 * _LONGEST:  # before it is looked through for words
        text = f"{text[: 50 * _LONGEST]}...{text[-50 * _LONGEST :]}"
    text = _LONG_WORD.sub(r"\1...\2", text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1_003]}...{text[-1_000:]}"


_excerpt = reprlib.Repr()
_excerpt.maxstring = _excerpt.maxother = 80
_excerpt.maxlevel = 3


def excerpt(value: object, limit: int = 80) -> str:
    """A value for an error message, of at most ``limit`` characters: large, deep and broken ones too.

    >>> excerpt("x" * 1_000_000, 12)
    "'xxx...xxxx'"
    """
    try:
        text = _excerpt.repr(value)
    except Exception as error:
        if type(value) is int:  # Python writes out no more than 4,300 digits
            return f"<int of about {round(value.bit_length() * 0.30103)} digits>"[:limit]
        return f"<{class_name(value)} that cannot be shown: {class_name(error)}>"[:limit]
    middle = (limit - 3) // 2
    return text if len(text) <= limit else f"{text[:middle]}...{text[middle + 3 - limit :]}"


def class_name(value: object) -> str:
    """The name of a value's class, of at most 80 characters, whatever the class makes of its own name."""
    name = type.__dict__["__name__"].__get__(type(value))
    return name if len(name) <= 80 else f"{name[:77]}..."


def one_of(names: Iterable[object]) -> str:
    """List what there is, for an error message: ``'a', 'b' or 'c'``, or ``nothing``."""
    quotations = [repr(name) for name in names]
    if not quotations:
        return "nothing"
    return quotations[0] if len(quotations) == 1 else f"{', '.join(quotations[:-1])} or {quotations[-1]}"


def list_some(names: Iterable[object], limit: int = 5) -> str:
    """List the first few names, for an error message: ``'a', 'b' and 7 more``."""
    return list_phrases(map(repr, names), limit)


def count_of(number: int, noun: str) -> str:
    """A number and what it counts: ``1 row``, ``2 rows``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def list_phrases(phrases: Iterable[str], limit: int = 5) -> str:
    """List the first few phrases, as they are: ``3 rows of a, 4 rows of b and 7 more``."""
    every = list(phrases)
    if len(every) > limit:
        return f"{', '.join(every[:limit])} and {len(every) - limit} more"
    return " and ".join([*filter(None, [", ".join(every[:-1])]), *every[-1:]]) or "nothing"
