"""``fti mcp``: every tool through the SDK's own client, what is refused, and that nothing is written or shown that must not be."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import duckdb
import pytest
from mcp import Client, StdioServerParameters

import fti_assets as fti
from fti_assets.agents import Tools, server_of
from fti_assets.agents.redaction import MASK, Redaction
from fti_assets.agents.rows import some_rows
from fti_assets.core import clock
from fti_assets.errors import StoreError
from tests.report.world import DEFS, watch, watched_week
from tests.support.visits import BUYER, LATER, LEAN, SOURCE, model, outcomes, shops, visits

ROOT = Path(__file__).parent.parent.parent
HOSTILE = ["", "nothing", "../../etc/passwd", "a'; DROP TABLE x; --", "\x00", "v" * 100_000, "{}", "💥"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = watched_week(tmp_path_factory)
    folder = tmp_path_factory.mktemp("asked")
    shutil.copytree(made, folder, dirs_exist_ok=True)
    return folder


def tools_of(root: Path) -> Tools:
    folders = {name: str(root / name) for name in ("lake", "models", "online", "log")}
    return Tools(DEFS, fti.Stores(**folders))


def asked(server: Any, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """What a client gets of each call: the value, or the text of the error."""

    async def ask() -> list[Any]:
        results = []
        async with Client(server) as client:
            for name, arguments in calls:
                answer = await client.call_tool(name, arguments)
                text = answer.content[0].text
                results.append(text if answer.is_error else answer.structured_content)
                assert len(text) < 200_000
                if not answer.is_error:
                    assert json.loads(text) == answer.structured_content
        return results

    with clock.at(LATER):
        return anyio.run(ask)


def answer(root: Path, at: str = "2013-01-07T12:00:00") -> str:
    """The id of a request that was answered and logged."""
    folders = {name: root / name for name in ("models", "online", "log")}
    visit = SOURCE[SOURCE["shop"] == "a"].iloc[-1]
    request = {"visit_id": int(visit["visit_id"]), "shop": "a", "member": True, "x": 0.25}
    with fti.Predictor.load("buyer", **folders) as predictor:
        return str(predictor.predict(request, at=at).request_id)


def test_every_tool_answers_and_writes_nothing(world: Path) -> None:
    request_id = answer(world)
    champion = fti.Stores(models=str(world / "models")).model_store().champion("buyer").reference
    before = {
        path: path.stat().st_mtime_ns for path in world.rglob("*") if path.is_file() and "sqlite" not in path.name
    }
    server = server_of(tools_of(world))
    assets, buyer, matches, causes, models, builds, build, same, drift, quality, why, rows = asked(
        server,
        ("describe", {}),
        ("describe", {"asset": "buyer_v1"}),
        ("search", {"words": "crowd"}),
        ("causes", {}),
        ("builds", {}),
        ("builds", {"model": "buyer"}),
        ("build", {"model": "buyer"}),
        ("diff_builds", {"model": "buyer", "build": champion}),
        ("drift", {"monitor": "watch"}),
        ("quality", {"monitor": "watch_v1", "since": "2013-01-01"}),
        ("why", {"request_id": request_id}),
        ("rows", {"table": "crowds_v1", "limit": 3, "columns": ["t", "people"]}),
    )
    assert assets["monitors"] == ["same_v1", "watch_v1"]
    assert buyer["models"]["task"] == "binary"
    assert "crowds_v1" in [one["name"] for one in matches["matches"]]
    assert any("visits_v1 is stale" in one["title"] for one in causes["causes"])
    assert models == {"buyer": {"champion": champion}}
    assert [one["build"] for one in builds["builds"]] == [builds["champion"]] == [champion]
    assert builds["champions"][0]["reason"]
    assert build["build"] == champion
    assert same["differences"] == []
    stored = fti.read(watch, stores=fti.Stores(lake=str(world / "lake")))
    psi = stored[(stored["statistic"] == "psi") & (stored["reference"] == "training")].set_index("column_name")["value"]
    assert drift["columns"]["x"]["points"][-1]["value"] == psi["x"]
    losses = stored[(stored["statistic"] == "log_loss") & (stored["build"] == "")].set_index("estimated")
    by_labels = quality["metrics"]["log_loss, all builds"]["points"][-1]
    assert (by_labels["value"], by_labels["rows"]) == tuple(losses.loc[False, ["value", "rows"]])
    assert by_labels["low"] < by_labels["value"] < by_labels["high"]
    assert "the same; 8 of 8 features are the same" in why["text"]
    assert [set(row) for row in rows["rows"]] == [{"t", "people"}] * 3
    after = {path: path.stat().st_mtime_ns for path in world.rglob("*") if path.is_file() and "sqlite" not in path.name}
    assert after == before


def test_every_tool_says_that_it_only_reads(world: Path) -> None:
    async def listed(server: Any) -> dict[str, Any]:
        async with Client(server) as client:
            return {one.name: one for one in (await client.list_tools()).tools}

    tools = anyio.run(listed, server_of(tools_of(world)))
    assert set(tools) == {
        "describe", "search", "causes", "builds", "build", "diff_builds", "drift", "quality", "why", "rows",
    }  # fmt: skip
    assert all(one.annotations.read_only_hint and len(one.description) > 20 for one in tools.values())
    assert set(tools) - set(anyio.run(listed, server_of(tools_of(world), rows=False))) == {"why", "rows"}


def test_hostile_arguments_are_refused_in_words(world: Path) -> None:
    arguments: dict[str, Callable[[str], dict[str, Any]]] = {
        "describe": lambda text: {"asset": text},
        "builds": lambda text: {"model": text},
        "build": lambda text: {"model": "buyer", "build": text or "v9/x"},
        "diff_builds": lambda text: {"model": "buyer", "build": text},
        "drift": lambda text: {"monitor": text},
        "quality": lambda text: {"monitor": "watch", "since": text},
        "why": lambda text: {"request_id": text},
        "rows": lambda text: {"table": "crowds_v1", "partition": text},
    }
    calls = [(name, make(text)) for name, make in arguments.items() for text in HOSTILE]
    calls += [("rows", {"table": "crowds_v1", "columns": [text]}) for text in HOSTILE]
    calls += [("rows", {"table": "crowds_v1", "limit": limit}) for limit in (0, -1, 51, 10**30)]
    for (name, inputs), result in zip(calls, asked(server_of(tools_of(world)), *calls), strict=True):
        assert isinstance(result, str), (name, inputs)
        assert result.startswith(f"Error executing tool {name}: "), (name, inputs, result)
        assert len(result) < 5_000


def test_a_system_without_stores_is_told_so(tmp_path: Path) -> None:
    causes, drift, models = asked(
        server_of(tools_of(tmp_path)), ("causes", {}), ("drift", {"monitor": "watch"}), ("builds", {})
    )
    assert "there is no offline store" in causes
    assert "there is no offline store" in drift
    assert models == {}
    assert not list(tmp_path.iterdir())


def test_what_a_log_redacts_is_masked_everywhere(world: Path) -> None:
    request_id = answer(world, at="2013-01-07T09:00:00")
    crowds, dataset, why = asked(
        server_of(tools_of(world)),
        ("rows", {"table": "crowds_v1", "limit": 50}),
        ("rows", {"table": "buyer_dataset", "limit": 50}),
        ("why", {"request_id": request_id}),
    )
    assert {row["people"] for row in crowds["rows"]} == {MASK, None}
    assert {row["people"] for row in dataset["rows"]} <= {MASK, None}
    assert len({row["queue"] for row in crowds["rows"]}) > 10
    assert f"people={MASK}" in why["text"]


def test_a_redacted_field_is_masked_as_the_groups_key_too() -> None:
    private = fti.prediction_log(name="private", model=BUYER, redact=["shop"])
    joined = fti.prediction_log(name="joined", model=LEAN, redact=["also_people"])
    redaction = Redaction.of([joined])
    assert redaction.masked("crowds_v1", {"shop": "a", "people": 3}) == {"shop": "a", "people": MASK}
    assert redaction.masked("shops_v1", {"shop": "a", "people": 3}) == {"shop": "a", "people": 3}
    row = {"feature": "shop", "online": "1", "request": '{"shop": "a", "x": [{"shop": "b"}], "y": "}{"}', "n": 1}
    assert Redaction.of([private]).masked("same_v1", row) == {
        "feature": "shop",
        "online": MASK,
        "request": json.dumps({"shop": MASK, "x": [{"shop": MASK}], "y": "}{"}),
        "n": 1,
    }
    assert Redaction.of([private]).masked("shops_v1", {"shop": "a", "size": 3}) == {"shop": MASK, "size": 3}


def test_keys_and_prefixes_are_followed_to_the_groups_own_names() -> None:
    view = fti.FeatureView(
        name="far",
        spine=visits,
        label=fti.Label(outcomes["bought"]),
        features=[visits["x"], shops.on(member="shop").prefix("near_")["rent", "size"]],
    )
    log = fti.prediction_log(name="far_log", model=model("far", view=view), redact=["member", "near_rent"])
    redaction = Redaction.of([log])
    assert redaction.masked("shops_v1", {"shop": "a", "rent": 1.0, "size": 3}) == {
        "shop": MASK,
        "rent": MASK,
        "size": 3,
    }
    assert redaction.masked("crowds_v1", {"shop": "a", "rent": 1.0}) == {"shop": "a", "rent": 1.0}


def test_what_texts_say_of_a_redacted_field_is_masked() -> None:
    redaction = Redaction(frozenset({"shop"}))
    result = redaction.in_words(
        {"slice": "shop=a,member=True", "list": ["shop='b c', x=1", "(shop=d)", "workshop=e"], "n": 3}
    )
    assert result == {
        "slice": f"shop={MASK},member=True",
        "list": [f"shop={MASK}, x=1", f"(shop={MASK})", "workshop=e"],
        "n": 3,
    }
    assert redaction.in_words(result) == result


def test_categories_of_a_redacted_feature_are_not_shown(world: Path) -> None:
    log = fti.prediction_log(name="moody", model=BUYER, redact=["mood"])
    folders = {name: str(world / name) for name in ("lake", "models", "online", "log")}
    tools = Tools(fti.build_definitions([log]), fti.Stores(**folders))
    learned = tools.build("buyer")["encoders"]
    assert {name: value for name, value in learned.items() if name.startswith("mood.")}
    assert {value for name, value in learned.items() if name.startswith("mood.")} == {MASK}
    assert MASK not in [value for name, value in learned.items() if name.startswith("hour_of_day.")]


def test_rows_of_an_external_group_are_read_where_they_lie(tmp_path: Path) -> None:
    with duckdb.connect(tmp_path / "warehouse.duckdb") as warehouse:
        warehouse.execute(
            "CREATE TABLE ratings AS SELECT range AS merchant, TIMESTAMP '2025-01-01' AS at FROM range(100)"
        )
    source = fti.DuckDBTable(file=str(tmp_path / "warehouse.duckdb"), table="ratings")
    ratings = fti.external_group(name="ratings", source=source, keys=["merchant"], event_time="at")
    stores = fti.Stores(lake=str(tmp_path / "lake"))
    rows = some_rows(ratings, stores, limit=5, columns=None, partition=None)
    assert [set(row) for row in rows] == [{"merchant", "at"}] * 5
    with pytest.raises(StoreError, match="has no column 'x'"):
        some_rows(ratings, stores, limit=5, columns=["x"], partition=None)
    with pytest.raises(StoreError, match="has no partitions"):
        some_rows(ratings, stores, limit=5, columns=None, partition="2025-01-01")
    assert not (tmp_path / "lake").exists()


def test_errors_show_no_passwords(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tools_of(world)

    def refuse() -> dict[str, Any]:
        raise StoreError("cannot reach redis://ann:geheim@host/0")

    monkeypatch.setattr(tools, "causes", refuse)
    monkeypatch.setattr(refuse, "__name__", "causes", raising=False)
    [result] = asked(server_of(tools), ("causes", {}))
    assert result == "Error executing tool causes: cannot reach redis://ann:***@host/0"


@pytest.mark.soak
def test_the_command_speaks_over_standard_input_and_output(world: Path) -> None:
    folders = [word for name in ("lake", "models", "log") for word in (f"--{name}", str(world / name))]
    program = StdioServerParameters(
        command=sys.executable,
        args=["-c", "from fti_assets.cli import main; main()", "mcp", "-m", "tests.agents.loud", *folders],
        cwd=str(ROOT),
        env={"PYTHONPATH": str(ROOT), "FTI_NOW": LATER, "OMP_NUM_THREADS": "1", "FTI_THREADS": "1"},
    )
    models, nobody = asked(program, ("builds", {}), ("build", {"model": "nobody"}))
    assert list(models) == ["buyer"]
    assert "nobody" in nobody
