from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.times import EPOCH, from_microseconds, microseconds
from fti_assets.errors import DataError
from fti_assets.features.online import rows as online_rows
from fti_assets.features.online.rows import blobs_of, online_schema, winners_since
from fti_assets.features.point_in_time.frontier import EVENT, VISIBLE
from fti_assets.stores.online.protocol import pack_rows
from tests.features.oracles import connection, relation, winner
from tests.support.examples import examples

SQL = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "timestamp": "TIMESTAMP"}
COLUMNS = {"name": "text", "n": "integer", "x": "number", "flag": "boolean", "seen": "timestamp", "note": "text"}
LETTERS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
VALUES = {
    "text": LETTERS,
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "timestamp": st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
}
KEYS = {"text": LETTERS, "integer": st.integers(-300, 300), "boolean": st.booleans()}


def group(keys: list[str], columns: dict[str, str], event_time: str | None) -> JoinedGroup:
    return JoinedGroup(
        "g",
        1,
        tuple(JoinedKey(f"k{i}", f"k{i}", kind) for i, kind in enumerate(keys)),
        tuple(JoinedColumn(name, name, kind) for name, kind in columns.items()),
        event_time=event_time,
    )


def as_stored(value: Any, kind: str) -> Any:
    return microseconds(value) if kind == "timestamp" and value is not None else value


@settings(max_examples=examples(40))
@given(st.data())
def test_rows_are_packed_column_by_column_as_they_are_singly(data):
    """Also where a key's rows come in several batches."""
    kinds = data.draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=2))
    names = data.draw(st.permutations(sorted(COLUMNS)))[: data.draw(st.integers(0, 6))]
    columns = {name: COLUMNS[name] for name in names}
    timed = data.draw(st.booleans())
    keys = data.draw(st.lists(st.tuples(*(KEYS[kind] for kind in kinds)), unique=True, max_size=6))
    rows: list[dict[str, Any]] = []
    for key in keys:
        for version in range(data.draw(st.integers(1, 4)) if timed else 1):
            row = {f"k{i}": part for i, part in enumerate(key)}
            row |= {name: data.draw(st.none() | VALUES[kind]) for name, kind in columns.items()}
            rows.append(
                row | {VISIBLE: EPOCH + timedelta(seconds=2 * version), EVENT: EPOCH + timedelta(seconds=version)}
            )
    whole = group(kinds, columns, "e" if timed else None)
    types = {f"k{i}": SQL[kind] for i, kind in enumerate(kinds)} | {name: SQL[kind] for name, kind in columns.items()}
    by_key = groupby(rows, lambda row: tuple(row[f"k{i}"] for i in range(len(kinds))))
    expected = pack_rows(
        "g_v1",
        online_schema(whole),
        [
            (
                key,
                [
                    (
                        microseconds(row[VISIBLE] - EPOCH) if timed else None,
                        microseconds(row[EVENT] - EPOCH) if timed else None,
                        [as_stored(row[name], kind) for name, kind in columns.items()],
                    )
                    for row in of_key
                ],
            )
            for key, of_key in by_key
        ],
    )
    order = data.draw(st.permutations(rows))
    with pytest.MonkeyPatch.context() as patch, connection() as open_:
        patch.setattr(online_rows, "_BATCH_ROWS", data.draw(st.sampled_from([2048, 100_000])))
        versions = relation(open_, types | {VISIBLE: "TIMESTAMP", EVENT: "TIMESTAMP"}, order)
        assert list(blobs_of(open_, versions, whole)) == sorted(expected)


def test_key_with_rows_in_two_batches_is_one_blob(monkeypatch):
    monkeypatch.setattr(online_rows, "_BATCH_ROWS", 2048)
    with connection() as open_:
        versions = open_.sql(
            f"SELECT 'k' || (i // 3000) AS k0, make_timestamp(i::BIGINT) AS {VISIBLE}, make_timestamp(i::BIGINT) AS {EVENT}, "
            "i AS n FROM range(10_000) r(i)"
        )
        results = dict(blobs_of(open_, versions, group(["text"], {"n": "integer"}, "e")))
    assert {key: (len(blob) - 4) // 25 for key, blob in results.items()} == {
        b"k0": 3000, b"k1": 3000, b"k2": 3000, b"k3": 1000
    }  # fmt: skip


def test_rows_without_a_key_are_left_out():
    with connection() as open_:
        rows = open_.sql("SELECT unnest(['a', NULL]) AS k0, unnest([1, 2]) AS k1, 1 AS n")
        results = list(blobs_of(open_, rows, group(["text", "integer"], {"n": "integer"}, None)))
    assert [key for key, _ in results] == [b"1:a1;"]


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT 'a' AS k0, 2::HUGEINT ** 70 AS n, TIMESTAMP '2013-01-01' AS v, TIMESTAMP '2013-01-01' AS e", "g_v1 cannot"),
        ("SELECT 'a' AS k0, 1 AS n, TIMESTAMP '2013-01-01' AS v, unnest([TIMESTAMP '2013-01-01', v]) AS e", "key 'a' of g_v1"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_an_error(sql, problem):
    with connection() as open_:
        versions = open_.sql(f"SELECT k0, n, v AS {VISIBLE}, e AS {EVENT} FROM ({sql})")
        with pytest.raises(DataError, match=problem):
            list(blobs_of(open_, versions, group(["text"], {"n": "integer"}, "e")))


@settings(max_examples=examples(40))
@given(
    st.lists(
        st.tuples(st.sampled_from("aab"), st.integers(0, 6), st.sampled_from([-2, 0, 0, 1, 3])),
        unique=True,
        max_size=12,
    ),
    st.integers(-1, 10),
)
@example([("a", 1, 2), ("a", 2, 0)], 2)
def test_what_wins_from_instant_on_is_kept(drawn, since):
    """The oracle: of the rows that ever win, one that is followed after the instant, or by none."""
    rows = [{"k0": key, "e": EPOCH + timedelta(seconds=event), "a": EPOCH + timedelta(seconds=event + lag)}
            for key, event, lag in drawn]  # fmt: skip
    whole = JoinedGroup("g", 1, (JoinedKey("k0", "k0", "text"),), (), event_time="e", available_at="a")
    with connection() as open_:
        stored = relation(open_, {"k0": "VARCHAR", "e": "TIMESTAMP", "a": "TIMESTAMP"}, rows)
        results = winners_since(open_, stored, whole, since * 1_000_000).project(f"k0, {VISIBLE}").fetchall()
    moments = sorted({(one["k0"], max(one["e"], one["a"])) for one in rows})
    winners = [(key, at, winner(whole, rows, [key], at)) for key, at in moments]
    every = [(key, at) for key, at, one in winners if one is not None and max(one["e"], one["a"]) == at]
    instant = from_microseconds(since * 1_000_000)
    followers = [*every, (None, None)][1:]
    assert sorted(results) == [
        row for row, follower in zip(every, followers, strict=True) if follower[0] != row[0] or follower[1] > instant
    ]
