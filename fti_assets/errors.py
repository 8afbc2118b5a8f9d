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
├── ModelError             a model cannot be trained, exported or judged
│   └── ExportError            the exported graph differs from the trained model
└── PredictionError        an online request cannot be answered
    ├── RequestError           the request itself is wrong
    └── NoChampionError        the model has no champion to serve
"""

import reprlib
from collections.abc import Iterable


class FtiError(Exception):
    """Everything this library raises on purpose."""


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
    except Exception as error:  # such as that of a whole number of over 4,300 digits, or of a class of someone's own
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"[:limit]
    middle = (limit - 3) // 2
    return text if len(text) <= limit else f"{text[:middle]}...{text[middle + 3 - limit :]}"


def one_of(names: Iterable[object]) -> str:
    """List what there is, for an error message: ``'a', 'b' or 'c'``, or ``nothing``."""
    quoted = [repr(name) for name in names]
    if not quoted:
        return "nothing"
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def listed(names: Iterable[object], limit: int = 5) -> str:
    """List the first few names, for an error message: ``'a', 'b' and 7 more``."""
    quoted = [repr(name) for name in names]
    if len(quoted) > limit:
        return f"{', '.join(quoted[:limit])} and {len(quoted) - limit} more"
    return " and ".join([*filter(None, [", ".join(quoted[:-1])]), *quoted[-1:]]) or "nothing"
