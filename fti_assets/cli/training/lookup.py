"""The declaration that a command names, and lists of words in an option."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from fti_assets.errors import DeclarationError, one_of

if TYPE_CHECKING:
    import dagster as dg

    from fti_assets.orchestration.declaration import Declaration

D = TypeVar("D", bound="Declaration")


def declaration_named(system: dg.Definitions, kind: type[D], name: str, *, what: str) -> D:
    """The one declaration of a kind under a name, or under a name with its version, such as ``delay_v2``.

    Raises:
        DeclarationError: there is none, or several versions have the name.
    """
    from fti_assets.orchestration.declaration import declarations_of

    declarations = list(declarations_of(system))
    candidates = [one for one in declarations if isinstance(one, kind)]
    matches = [one for one in candidates if name in (one.name, one.asset_name)]
    if not matches:
        names = one_of(sorted({one.name for one in candidates}))
        others = [one for one in declarations if name in (one.name, one.asset_name)]
        other = f", which is the {_kind(others[0])} {others[0].asset_name}" if others else ""
        raise DeclarationError(f"the definitions have no {what} {name!r}{other}: they have {names}")
    if len(matches) > 1:
        versions = one_of(sorted(one.asset_name for one in matches))
        raise DeclarationError(f"the definitions have several versions of {what} {name!r}: write {versions}")
    return matches[0]


def _kind(declaration: Declaration) -> str:
    """What a declaration is, in words: ``training dataset``."""
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", type(declaration).__name__).lower()


def split_words(text: str) -> list[str]:
    """The words between commas, without spaces around them."""
    return [word.strip() for word in text.split(",") if word.strip()]
