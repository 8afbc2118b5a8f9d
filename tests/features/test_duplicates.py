"""Rows of equal keys and times: refused, or the last by a column is kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.errors import DataError, DeclarationError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.duplicates import without_duplicates
from fti_assets.testing import materialize, stores_in
from tests.features.oracles import Row, connection, relation
from tests.support.examples import examples

AT = pd.Timestamp("2024-01-01").as_unit("us")
rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(0, 2),
            "part": st.integers(0, 1),
            "x": st.integers(0, 2),
            "loaded": st.none() | st.integers(0, 3),
        }
    ),
    max_size=12,
)


def kept(given_rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """The oracle: of each identity the distinct rows that are last."""
    result = []
    for identity in {(row["id"], row["part"]) for row in given_rows}:
        same = [row for row in given_rows if (row["id"], row["part"]) == identity]
        last = max(-1 if row["loaded"] is None else row["loaded"] for row in same)
        chosen = [row for row in same if (-1 if row["loaded"] is None else row["loaded"]) == last]
        result += sorted({(row["id"], row["part"], row["x"], row["loaded"]) for row in chosen}, key=str)
    return sorted(result, key=str)


@given(rows)
@settings(max_examples=examples(100))
def test_the_last_row_by_a_column_is_kept(given_rows: list[Row]) -> None:
    with connection() as con:
        columns = dict.fromkeys(("id", "part", "x", "loaded"), "BIGINT")
        results = without_duplicates(con, relation(con, columns, given_rows), ["id", "part"], "loaded", what="t_v1")
        assert sorted(results.fetchall(), key=str) == kept(given_rows)


class Balances(pa.DataFrameModel):
    id: int
    at: pd.Timestamp
    x: float = pa.Field(ge=0)
    loaded: float = pa.Field(nullable=True)


def balances(frame: pd.DataFrame, **options: Any) -> FeatureGroup:
    @fti.feature_group(name="balances", keys=["id"], event_time="at", **options)
    def group() -> pd.DataFrame:
        return frame

    return group


def frame(*values: tuple[int, float, float | None]) -> pd.DataFrame:
    return pd.DataFrame(values, columns=["id", "x", "loaded"]).assign(at=AT)[["id", "at", "x", "loaded"]]


def test_duplicates_are_refused_unless_a_policy_is_stated(tmp_path: Path) -> None:
    twice = frame((1, 10.0, 1.0), (1, 11.0, 2.0), (2, 20.0, 1.0))
    with pytest.raises(dg.Failure, match="2 rows of balances_v1 with the same id, at as another"):
        materialize(balances(twice), stores=stores_in(tmp_path))
    done = materialize(balances(twice, duplicates=fti.KeepLast("loaded")), stores=stores_in(tmp_path))
    assert done.rows(balances(twice)).sort_values("id")["x"].tolist() == [11.0, 20.0]
    (event,) = done.runs["balances_v1"].get_asset_materialization_events()
    assert event.materialization.metadata["duplicates_dropped"].value == 1


def test_row_dropped_need_not_be_valid_and_nan_is_no_order(tmp_path: Path) -> None:
    given_rows = frame((1, -1.0, 1.0), (1, 11.0, 2.0), (1, -2.0, None))
    group = balances(given_rows, duplicates=fti.KeepLast("loaded"), schema=Balances)
    assert materialize(group, stores=stores_in(tmp_path)).rows(group)["x"].tolist() == [11.0]


def test_rows_that_tie_are_refused_and_equal_ones_are_one(tmp_path: Path) -> None:
    equal = balances(frame((1, 10.0, 1.0), (1, 10.0, 1.0)), duplicates=fti.KeepLast("loaded"))
    assert len(materialize(equal, stores=stores_in(tmp_path)).rows(equal)) == 1
    tie = balances(frame((1, 10.0, 1.0), (1, 11.0, 1.0)), duplicates=fti.KeepLast("loaded"))
    with pytest.raises(dg.Failure, match="2 rows of balances_v1 with the same id, at as another"):
        materialize(tie, stores=stores_in(tmp_path))


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    group = balances(frame((1, 10.0, 1.0)), duplicates=fti.KeepLast("written"))
    with pytest.raises(
        DataError, match="keeps the last row by 'written' among those of equal id, at, but its result has no"
    ):
        materialize(group, stores=stores_in(tmp_path))
    with pytest.raises(
        DeclarationError, match="balances_v1 has no column 'written': its schema has 'id', 'at', 'x' or"
    ):
        balances(frame(), duplicates=fti.KeepLast("written"), schema=Balances)


@pytest.mark.parametrize("policy", ["keep_last", "first", None, 3])
def test_an_unknown_policy_is_refused(policy: Any) -> None:
    with pytest.raises(DeclarationError, match=r"duplicates of 'balances' is .*: write 'error', .*or fti.KeepLast"):
        balances(frame(), duplicates=policy)


@pytest.mark.soak
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("event_time", [None, "at"])
def test_times_that_differ_by_nanoseconds_say_which_is_last(tmp_path: Path, order: int, event_time: str | None) -> None:
    """The lake keeps microseconds of them."""
    later = AT.as_unit("ns") + pd.to_timedelta([1, 900, 3, None], unit="ns")
    frame = pd.DataFrame({"id": [1] * 4, "at": later, "x": ["first", "last", "second", "never"]})
    frame = frame[frame["at"].notna()] if event_time else frame

    @fti.feature_group(keys=["id"], event_time=event_time, name="visits", duplicates=fti.KeepLast("at"))
    def visits() -> pd.DataFrame:
        return frame[::order]

    stores = stores_in(tmp_path)
    materialize(visits, stores=stores)
    assert fti.read(visits, stores=stores).to_dict("records") == [{"id": 1, "at": AT, "x": "last"}]


def test_a_zone_hides_nanoseconds_so_rows_that_tie_are_refused(tmp_path: Path) -> None:
    at = AT.as_unit("ns").tz_localize("UTC") + pd.to_timedelta([1, 900], unit="ns")
    frame = pd.DataFrame({"id": [1, 1], "at": at, "x": ["first", "last"]})
    group = fti.feature_group(keys=["id"], name="visits", duplicates=fti.KeepLast("at"))(lambda: frame)
    with pytest.raises(dg.Failure, match="2 rows of visits_v1 with the same id as another"):
        materialize(group, stores=stores_in(tmp_path))


@pytest.mark.parametrize("event_time", [None, "at"])
def test_nanoseconds_of_iso_text_are_kept_as_text_or_refused(tmp_path: Path, event_time: str | None) -> None:
    """Text that is no time of the group is its own order; as a time of the group it has microseconds, so that rows tie."""
    texts = [f"2024-01-01T00:00:00.0000000{end:02}Z" for end in (1, 90, 3)]
    frame = pd.DataFrame({"id": [1] * 3, "at": texts, "x": ["first", "last", "second"]})
    group = fti.feature_group(keys=["id"], event_time=event_time, name="visits", duplicates=fti.KeepLast("at"))(
        lambda: frame
    )
    stores = stores_in(tmp_path)
    if event_time is None:
        materialize(group, stores=stores)
        assert fti.read(group, stores=stores)["x"].tolist() == ["last"]
    else:
        with pytest.raises((dg.Failure, DataError), match="same id, at as another|no ISO time"):
            materialize(group, stores=stores)
