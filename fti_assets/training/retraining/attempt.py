"""A training among several, of which one that fails does not end the others."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fti_assets.errors import DataError, ModelError, class_name

T = TypeVar("T")

_LONGEST = 500
"""The characters of another's error that stand in a table."""


@dataclass(frozen=True)
class Failure:
    """Why a training failed, in one line of text."""

    reason: str


def attempt(work: Callable[[], T], *, what: str, say: Callable[[str], object]) -> T | Failure:
    """What some work gives, or why it fails.

    Args:
        work: a training.
        what: names it in the log.
        say: is told the traceback of an error that is not the library's own.

    >>> attempt(lambda: 1 / 0, what="delays at 2013-05-01", say=lambda line: None)
    Failure(reason='ZeroDivisionError: division by zero')
    """
    try:
        return work()
    except (ModelError, DataError) as error:  # such as no test rows at an early cutoff: the others still tell
        return Failure(str(error))
    except Exception as error:  # of the function or a library, such as one that wants more rows of a class
        say(f"{what} fails:\n{''.join(traceback.format_exception(error))}")
        return Failure(" ".join(f"{class_name(error)}: {_text(error)}".split())[:_LONGEST])


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception as another:
        return f"<that cannot be shown: {class_name(another)}>"
