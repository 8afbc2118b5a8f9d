import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fti_assets.core.names import TableName
from fti_assets.core.sql import checked_name, literal, quote
from fti_assets.errors import DeclarationError

HOSTILE = ['a"b', "a'b", "select", "a b", "a.b", 'x"; DROP TABLE rows; --', "Ünïcode", "$1", "?", "{}", "a\nb", "\\"]
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.just("\0"))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_names_column_and_table_and_does_nothing_else(name: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE rows AS SELECT 1 AS kept")
        connection.execute(f"CREATE TABLE {quote(name)} ({quote(name)} INTEGER)")
        connection.execute(f"INSERT INTO {quote('memory', 'main', name)} VALUES (7)")
        assert connection.execute(f"SELECT t.{quote(name)} FROM {quote(name)} t").fetchall() == [(7,)]
        tables = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        assert sorted(tables) == sorted([("rows",), (name,)])


@given(TEXT)
def test_any_text_survives_as_literal_and_as_identifier(text: str) -> None:
    results = duckdb.sql(f"SELECT {literal(text)} AS {quote(text)}")
    assert (results.fetchall(), results.columns) == ([(text,)], [text])


@given(ANY_TEXT)
def test_text_with_nul_survives_as_a_literal(text: str) -> None:
    assert duckdb.sql(f"SELECT {literal(text)} = ?, {literal(text)}", params=[text]).fetchall() == [(True, text)]


def test_a_name_of_more_than_120_characters_is_refused() -> None:
    assert checked_name("a" * 120, what="key") == "a" * 120
    with pytest.raises(DeclarationError, match="key 'aaa.* has 10000 characters: a name has at most 120") as caught:
        checked_name("a" * 10_000, what="key")
    assert len(str(caught.value)) < 200


def test_parts_are_quoted_one_by_one() -> None:
    assert quote("lake", "features", 'a"b') == '"lake"."features"."a""b"'


@pytest.mark.parametrize("name", ["a", "_a1", "late_rate_3h", "select"])
def test_plain_names_are_taken(name: str) -> None:
    assert checked_name(name, what="key") == name


@pytest.mark.parametrize(
    "name", [*(name for name in HOSTILE if name != "select"), "", "A", "1a", "a-b", "a\n", None, 3]
)
def test_other_names_are_refused_and_named(name: object) -> None:
    with pytest.raises(DeclarationError, match="key of 'weather' .* is not a name: use lower-case letters") as caught:
        checked_name(name, what="key of 'weather'")  # type: ignore[arg-type]
    assert repr(name) in str(caught.value)


def test_table_reads_as_its_name_in_sql_text_and_in_errors() -> None:
    table = TableName("features", "weather_v1")
    assert (str(table), f"FROM {table}", f"{table:>12}") == ("weather_v1", "FROM weather_v1", "  weather_v1")
    assert (table.full_name, table.sql) == ("features.weather_v1", '"lake"."features"."weather_v1"')
