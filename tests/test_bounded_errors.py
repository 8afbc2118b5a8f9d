"""Whatever a name, path or version is, what is said of it is the library's own error, and short."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fti_assets as fti
from fti_assets.errors import FtiError, MissingExtraError, shorten
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.models.plain import publish_graph
from fti_assets.stores.models.store import ModelStore
from tests.graphs import constant_graph

LONG = "x" * 100_000
NUL = "a\0b"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def group(**arguments: Any) -> fti.FeatureGroup:
    @fti.feature_group(keys=["id"], event_time="t", **arguments)
    def rates() -> None: ...

    return rates


def outside(source: Any) -> Any:
    return fti.read(fti.external_group(name="outside", source=source, keys=["id"], event_time="t"))


PLACES: dict[str, Callable[[Any], Any]] = {
    "predictor's models": lambda place: fti.Predictor.load("m", models=place),
    "predictor's log": lambda place: fti.Predictor.load("m", log=place),
    "read's lake": lambda place: fti.read("rates_v1", stores=Stores(lake=str(place))),
    "model store": lambda place: ModelStore(place).champion("m"),
    "Parquet files": lambda place: outside(fti.ParquetFiles(path=place)),
    "DuckDB file": lambda place: outside(fti.DuckDBTable(file=place, table="t")),
}  # fmt: skip
NAMES: dict[str, Callable[[str], Any]] = {
    "predictor": fti.Predictor.load,
    "predictor's build": lambda name: fti.Predictor.load("m", build=name),
    "read": fti.read,
    "group": lambda name: group(name=name),
    "ttl": lambda name: group(ttl=name),
    "lookback": lambda name: group(lookback=name),
    "argument": lambda name: group(**{name: 1}),
    "column": lambda name: group()[name],
    "kind": lambda name: fti.read(group(), as_=name),  # type: ignore[call-overload]
    "model": lambda name: ModelStore("models").champion(name),
    "build": lambda name: ModelStore("models").load("m", f"v1/{name}"),
}
VERSIONS: dict[str, Callable[[int], Any]] = {
    "group": lambda version: group(version=version),
    "graph": lambda version: publish_graph(ModelStore("models"), "m", constant_graph(), version=version),
}


NUMBERS: dict[str, Callable[[Any], Any]] = {
    "keys": lambda value: fti.feature_group(keys=value, event_time="t")(group),
    "ttl": lambda value: group(ttl=value),
    "lookback": lambda value: group(lookback=value),
    "schema": lambda value: group(schema=value),
    "rename": lambda value: group(rename=value),
    "duplicates": lambda value: group(duplicates=value),
    "tags": lambda value: group(tags=value),
    "online": lambda value: group(online=value),
    "position": lambda value: fti.Changes(position=value),
    "label": fti.Label,
    "split": lambda value: fti.TimeSplit(validation=value, test="1d"),
    "shares": lambda value: fti.RandomSplit(validation=value, test=0.1),
    "categories": lambda value: fti.OneHot(max_categories=-value if isinstance(value, int) else value),
    "top": lambda value: fti.TopK(value, by="id"),
    "folder": fti.ParquetSink,
    "source": lambda value: fti.external_group(name="outside", source=value, keys=["id"], event_time="t"),
    "declarations": fti.build_definitions,
    "read": fti.read,
    "online rows": lambda value: fti.read_online(value, {"id": 1}),
    "targets": lambda value: fti.new_data_sensor(name="landed", targets=[value], cursor=lambda: "", every="1h"),
}  # fmt: skip
HUGE = 10**5_000


def assert_short(ask: Callable[[], Any]) -> None:
    with pytest.raises(FtiError) as raised:
        ask()
    assert len(str(raised.value)) < 4_001
    assert max(map(len, str(raised.value).split())) < 501


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("place", [LONG, NUL, f"/tmp/{'a b ' * 20_000}"], ids=["long", "NUL", "long with blanks"])
@pytest.mark.parametrize("door", PLACES)
def test_places_of_stores_are_refused_in_few_words(door: str, place: str, kind: type) -> None:
    assert_short(lambda: PLACES[door](kind(place)))


@pytest.mark.parametrize("name", [LONG, NUL, "a " * 50_000], ids=["long", "NUL", "long with blanks"])
@pytest.mark.parametrize("door", NAMES)
def test_names_are_refused_in_few_words(door: str, name: str) -> None:
    assert_short(lambda: NAMES[door](name))


@pytest.mark.parametrize("version", [10**15, 10**50, 10**5_000], ids=["16 digits", "51 digits", "5001 digits"])
@pytest.mark.parametrize("door", VERSIONS)
def test_versions_have_at_most_fifteen_digits(door: str, version: int) -> None:
    assert_short(lambda: VERSIONS[door](version))
    assert group(version=10**15 - 1).table_name == "rates_v999999999999999"


@pytest.mark.parametrize(
    "value",
    [HUGE, [HUGE], {"a": HUGE}, {HUGE: "a"}, type("x" * 100_000, (), {})()],
    ids=["number", "list", "dict", "key", "long class"],
)
@pytest.mark.parametrize("door", NUMBERS)
def test_huge_values_are_refused_in_few_words(door: str, value: Any) -> None:
    assert_short(lambda: NUMBERS[door](value))


def test_a_duration_of_five_thousand_digits_is_refused() -> None:
    assert_short(lambda: group(ttl=f"{'9' * 5_000}d"))


def test_what_is_short_is_said_as_it_is() -> None:
    text = "a sentence of many words " * 19
    assert shorten(text) == text
    assert str(FtiError(text, 3)) == str((text, 3))
    assert MissingExtraError("no torch", name="torch").name == "torch"
    kept = shorten("start " + "word " * 2_000 + "what to do")
    assert kept.startswith("start word")
    assert kept.endswith("what to do")
    assert len(kept) <= 4_000
