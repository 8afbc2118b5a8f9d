"""Patterns in SQL: found where Python finds them, every short pattern of these parts."""

import itertools
import re

import duckdb
import pandera.pandas as pa
import pytest

from fti_assets.features.validation.checks import SqlColumn, in_sql

PARTS = ["a", "b", "^", "$", "(?:", "(", ")", "|", "*", "?", "+", "{0}", ".", "[^a]", "\\d"]
TEXTS = ["", "a", "b", "ab", "ba", "aa", "aab", "c", "abc", " ", "a a", "1"]


@pytest.mark.parametrize("parts", [3, pytest.param(4, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("check", "found"), [("str_matches", re.match), ("str_contains", re.search)])
def test_a_pattern_is_found_where_python_finds_it(check: str, found: object, parts: int) -> None:
    conditions = {}
    for count in range(parts + 1):
        for pattern in map("".join, itertools.product(PARTS, repeat=count)):
            try:
                result = in_sql(getattr(pa.Check, check)(pattern), SqlColumn("x", "text"))
            except re.error:
                continue
            if result is not None:
                conditions[pattern] = result.fails
    assert len(conditions) > 400
    texts = ", ".join(f"('{text}')" for text in TEXTS)
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TEMP TABLE texts AS SELECT * FROM (VALUES {texts}) t(x)")
        ordered = list(conditions.items())
        for first in range(0, len(ordered), 100):
            some = ordered[first : first + 100]
            answers = connection.execute(
                f"SELECT x, {', '.join(f'({fails})' for _, fails in some)} FROM texts"
            ).fetchall()
            for place, (pattern, _) in enumerate(some, 1):
                failing = {answer[0] for answer in answers if answer[place]}
                assert failing == {text for text in TEXTS if found(pattern, text) is None}, pattern  # type: ignore[operator]
