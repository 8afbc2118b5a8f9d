"""``fti report`` on a small system: what it reads from the lake and the model store, and what it leaves alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.core.times import instant
from fti_assets.report import Report, page_of, report
from tests.report.world import DEFS, watch, watched_week
from tests.support.visits import LATER, stores_in


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return watched_week(tmp_path_factory)


def look(root: Path, **options: Any) -> Report:
    with clock.at(LATER):
        return report(DEFS, stores=stores_in(root), **options)


def test_drift_is_what_the_monitors_table_says(world: Path) -> None:
    (figures,) = look(world).monitors
    rows = fti.read(watch, stores=stores_in(world))
    psi = rows[(rows["statistic"] == "psi") & (rows["reference"] == "training")].set_index("column_name")
    columns = {one.name: one for one in figures.drift}
    for name in ("x", "people", "probability"):
        assert columns[name].newest is not None
        assert columns[name].newest.value == psi.loc[name, "value"]
        assert columns[name].newest.rows == psi.loc[name, "rows"]
    assert figures.warnings == (rows["verdict"] == "warning").sum()
    assert figures.newest == instant("2013-01-07")


def test_quality_is_what_the_monitors_table_says(world: Path) -> None:
    made = look(world)
    rows = fti.read(watch, stores=stores_in(world))
    of_labels = rows[(rows["statistic"] == "log_loss") & (rows["build"] == "") & ~rows["estimated"]].iloc[0]
    (series,) = (one for one in made.monitors[0].quality if one.name == "log_loss")
    assert series.newest is not None
    assert (series.newest.value, series.newest.low, series.newest.rows) == tuple(of_labels[["value", "low", "rows"]])
    assert f"log_loss {of_labels['value']:.3g} (" in page_of(made)
    estimates = rows[(rows["statistic"] == "log_loss") & (rows["build"] == "") & rows["estimated"]]
    assert [one.value for one in series.estimates] == list(estimates["value"])


def test_champions_stand_with_their_reasons(world: Path) -> None:
    made = look(world)
    (history,) = made.models
    assert history.champion is not None
    page = page_of(made)
    assert f"<code>{history.aliases.champion}</code>" in page
    assert "accepted" in page
    assert history.aliases.history[-1].reason in page


@pytest.mark.soak
def test_a_group_whose_due_day_is_missing_is_an_open_cause(world: Path) -> None:
    made = look(world)
    states = {one.table: one.state for one in made.groups}
    assert states == {"visits_v1": "stale", "outcomes_v1": "stale", "crowds_v1": "stale", "shops_v1": "not due"}
    [stale] = [one.title for one in made.causes.causes if one.subject == "stale visits_v1"]
    assert "partitions are missing, '2013-01-18', " in stale
    with clock.at("2013-01-08T12:00"):
        assert not report(DEFS, stores=stores_in(world)).causes.causes


def test_what_is_before_since_is_left_out(world: Path) -> None:
    (figures,) = look(world, since=instant("2013-01-08")).monitors
    assert figures.problem == "it has no partition since 2013-01-08 00:00:00"


def test_a_system_without_stores_has_a_report_that_says_so(tmp_path: Path) -> None:
    made = look(tmp_path)
    assert "there is no offline store" in made.problem
    assert not list(tmp_path.iterdir())
    assert "It has no builds yet: materialize it." in page_of(made)


def test_a_table_that_is_damaged_hides_no_other(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    for file in (tmp_path / "lake" / "data").rglob("*watch_v1*/**/*.parquet"):
        file.write_bytes(b"no parquet")
    made = look(tmp_path)
    assert made.monitors[0].problem
    assert made.groups
    assert "Nothing to show:" in page_of(made)


def test_the_command_writes_the_page_and_nothing_else(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in world.rglob("*.json*")}
    tables = len(list((world / "lake" / "data").rglob("*.parquet")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    folders = ["--lake", str(world / "lake"), "--models", str(world / "models")]
    assert main(["report", "-m", "tests.report.world", "--out", "page.html", "--since", "2013-01-01", *folders]) == 0
    assert "page.html has the report" in capsys.readouterr().out
    assert "monitoring.watch_v1" in Path("page.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert {path: path.stat().st_mtime_ns for path in world.rglob("*.json*")} == before
    assert len(list((world / "lake" / "data").rglob("*.parquet"))) == tables
    assert main(["report", "-m", "tests.report.world", "--out", "no/page.html", *folders]) == 2
    assert main(["report", "-m", "tests.report.world", "--since", "yesterday", *folders]) == 1
    assert "yesterday" in capsys.readouterr().err


def test_failed_checks_come_from_the_dagster_instance(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.get() as instance:
        key = dg.AssetCheckKey(watch.key, "everything_measured")
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=key.asset_key, check_name=key.name, passed=False, description="why not")
        )
    made = look(world)
    assert [one.text.splitlines()[0] for one in made.causes.causes if "everything_measured" in one.title] == ["why not"]
    assert not made.causes.unseen
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "nowhere"))
    assert "DAGSTER_HOME failed" in look(world).causes.unseen
