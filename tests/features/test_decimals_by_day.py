"""Days of a decimal column whose values fit what is stored."""

import duckdb
import pytest

from fti_assets.features.rows.staging import _holds


@pytest.mark.parametrize(
    ("given", "kind", "stored", "fits"),
    [
        ("4", "BIGINT", "DECIMAL(18,2)", True),
        ("10 ** 17", "BIGINT", "DECIMAL(18,2)", False),
        ("2.50", "DECIMAL(18,2)", "DECIMAL(18,1)", True),
        ("2.25", "DECIMAL(18,2)", "DECIMAL(18,1)", False),
        ("12345.5", "DECIMAL(38,1)", "DECIMAL(4,2)", False),
    ],
)
def test_a_stored_decimal_takes_what_it_holds_exactly(given: str, kind: str, stored: str, fits: bool) -> None:
    held = _holds("x", kind, stored)
    assert duckdb.sql(f"SELECT {held} FROM (SELECT ({given})::{kind} AS x)").fetchall() == [(fits,)]
