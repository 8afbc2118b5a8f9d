"""ISO text in a column means what it means in a request."""

from datetime import datetime

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from fti_assets.inference.serving.requests.values import timestamp
from fti_assets.stores.duckdb.iso_text import try_instant_sql

SHAPES = [
    "{0:%Y-%m-%d}",
    "{0:%Y-%m-%dT%H}",
    "{0:%Y-%m-%dT%H:%M}",
    "{0:%Y-%m-%d %H:%M:%S}",
    "{0:%Y-%m-%dT%H:%M:%S.%f}",
    "{0:%Y%m%dT%H%M%S}",
]
OFFSETS = ["", "Z", "+02:00", "-0430", "+14", "-23:59", "+00:00:30"]
moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(lambda at: at.replace(year=max(at.year, 1000)))
written = st.builds(
    lambda shape, at, offset: shape.format(at) + offset, st.sampled_from(SHAPES), moments, st.sampled_from(OFFSETS)
)
texts = st.lists(written | st.text(max_size=12) | st.none(), max_size=20)


def request_instant(text: str | None) -> datetime | None:
    try:
        return timestamp(text)
    except ValueError:
        return None


@given(texts)
def test_a_column_reads_each_text_as_a_request_does(values: list[str | None]) -> None:
    values = [None if text is None else text.encode("utf-8", "ignore").decode().replace("\0", "") for text in values]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE rows (i INTEGER, t VARCHAR)")
        connection.executemany("INSERT INTO rows VALUES (?, ?)", [[-1, None], *map(list, enumerate(values))])
        read = connection.execute(
            f"SELECT {try_instant_sql(connection, 't')} FROM rows WHERE i >= 0 ORDER BY i"
        ).fetchall()
    assert [instant for (instant,) in read] == [request_instant(text) for text in values]


def test_cursors_of_one_database_share_the_parser() -> None:
    with duckdb.connect() as connection:
        for one in (connection, connection.cursor(), connection):
            assert one.execute(f"SELECT {try_instant_sql(one, quote)}").fetchall() == [(datetime(2024, 5, 1),)]


quote = "'2024-05-01'"
