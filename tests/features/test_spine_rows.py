"""A spine's rows as of their own prediction times."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import SpineTimes, ViewRecord
from fti_assets.features.spine_rows import LATE, spine_as_of
from tests.features import oracles
from tests.features.oracles import START, Row
from tests.support.examples import examples
from tests.support.records import view_record

HOUR = timedelta(hours=1)
COLUMNS = {"id": "BIGINT", "t": "TIMESTAMP", "known": "TIMESTAMP", "turn": "INTEGER", "own": "INTEGER"}


def view(times: SpineTimes | None, *, timed: bool = True) -> ViewRecord:
    return view_record(spine="spine", prediction_time="t" if timed else None, spine_times=times)


def row(id: int, known: int, own: int, *, t: int = 0, turn: int | None = None) -> Row:
    return {"id": id, "t": START + t * HOUR, "known": START + known * HOUR, "turn": turn, "own": own}


def found(rows: Sequence[Row], times: SpineTimes | None, *, timed: bool = True) -> dict[tuple[int, int], bool]:
    """Whether the row was late, by its key and own value."""
    with oracles.connection_to_shared() as connection:
        relation = spine_as_of(connection, oracles.relation(connection, COLUMNS, rows), view(times, timed=timed))
        made = relation.project(f"id, own, {LATE}").fetchall()
    assert len({(id, own) for id, own, _ in made}) == len(made)
    return {(id, own): late for id, own, late in made}


KNOWN = SpineTimes("known")


@pytest.mark.parametrize(
    ("versions", "own", "late"),
    [
        ([row(1, -2, 1), row(1, -1, 2), row(1, 1, 3)], 2, False),
        ([row(1, 0, 1), row(1, 1, 2)], 1, False),
        ([row(1, 3, 3), row(1, 1, 1), row(1, 2, 2)], 1, True),
    ],
)
def test_the_version_visible_at_the_prediction_time_wins(versions: list[Row], own: int, late: bool) -> None:
    assert found(versions, KNOWN) == {(1, own): late}


def test_a_serving_delay_makes_each_row_late() -> None:
    hour = 3_600_000_000
    assert found([row(1, 0, 1), row(2, 0, 2)], SpineTimes(serving_delay_us=hour)) == {(1, 1): True, (2, 2): True}
    assert found([row(1, 0, 1)], SpineTimes()) == found([row(1, 0, 1)], None) == {(1, 1): False}


def test_without_times_every_row_stays() -> None:
    assert found([row(1, 5, 1), row(2, 5, 2)], KNOWN, timed=False) == {(1, 1): False, (2, 2): False}


hours = st.integers(-3, 3)
versions = st.lists(
    st.builds(row, st.integers(0, 2), hours, st.just(0), t=st.integers(-1, 1), turn=st.none() | st.integers(0, 2)),
    max_size=14,
    unique_by=lambda one: (one["id"], one["t"], one["known"], one["turn"]),
)


@settings(max_examples=examples(150))
@given(rows=versions, tie_break=st.sampled_from([None, "turn"]))
def test_any_corrections_are_those_of_brute_force(rows: list[Row], tie_break: str | None) -> None:
    if tie_break is None:
        rows = list({(one["id"], one["t"], one["known"]): one for one in rows}.values())
    rows = [{**one, "own": number} for number, one in enumerate(rows)]
    expected = {}
    for identity in {(one["id"], one["t"]) for one in rows}:
        of_row = [one for one in rows if (one["id"], one["t"]) == identity]
        best = oracles.spine_version(of_row, identity[1], "known", tie_break)
        expected[best["id"], best["own"]] = best["known"] > identity[1]
    assert found(rows, SpineTimes("known", tie_break=tie_break)) == expected
