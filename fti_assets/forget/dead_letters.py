"""Whose an event is that was no row of its group: its payload may be anything, so it is searched as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from fti_assets.core.names import FEATURES, STREAMING, TableName

_NO_WORD = "(?:[0-2].|3[A-F]|40|5[B-E]|60|7[B-F]|[89A-F].)"
"""A byte in hexadecimal digits that is no letter, digit or underscore of ASCII."""
_NO_NUMBER = "(?:[01].|2[0-9ABCF]|3[A-F]|40|5[B-E]|60|7[B-F]|[89A-F].)"
"""Such a byte that is no point and no minus either."""
_WHOLE_NUMBER = re.compile(r"-?\d+")
_SUFFIX = "_dead_letters"


def group_table_of(table: TableName) -> TableName | None:
    """The table of the group whose dead letters a table has; None for any other table."""
    if table.schema != STREAMING or not table.name.endswith(_SUFFIX):
        return None
    return TableName(FEATURES, table.name.removesuffix(_SUFFIX))


def letters_with(values: Mapping[str, str]) -> str:
    """A predicate: each of some values stands in the payload, or in the reason, as a word of its own, under whatever name."""
    # By the bytes, which may be no text. Pairs of digits are counted from the begin, so that no half of a byte is taken for one.
    text = "hex(payload || '\\x00'::BLOB || encode(reason))"
    return " AND ".join(f"regexp_matches({text}, '{pattern(value)}')" for value in values.values())


def pattern(value: str) -> str:
    """A regular expression over the hexadecimal digits of a text that has a value as a word.

    >>> matches = lambda value, text: re.search(pattern(value), text.encode().hex().upper()) is not None
    >>> matches("c1", '{"card": "c1"}'), matches("c1", '{"card": "c17"}'), matches("é", '["\\\\u00E9"]')
    (True, False, True)
    >>> matches("7", '{"n": 7.0}'), matches("7", '{"n": 7.5}'), matches("7", '{"n": -7}'), matches("7", "it ends with 7.")
    (True, False, False, True)
    """
    escaped = json.dumps(value)[1:-1]
    plain = json.dumps(value, ensure_ascii=False)[1:-1]
    upper = re.sub(r"\\u[0-9a-f]{4}", lambda match: "\\u" + match[0][2:].upper(), escaped)
    forms = {value, escaped, upper, plain, *(one.replace("/", "\\/") for one in (escaped, upper, plain))}
    words = "|".join(sorted(form.encode(errors="replace").hex().upper() for form in forms))
    if _WHOLE_NUMBER.fullmatch(value):
        return f"^(?:(?:..)*?{_NO_NUMBER})?(?:{words})(?:2E(?:30)+)?(?:{_NO_NUMBER}|2E{_NO_NUMBER}|2E$|$)"
    return f"^(?:(?:..)*?{_NO_WORD})?(?:{words})(?:{_NO_WORD}|$)"
