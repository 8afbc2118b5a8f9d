"""``fti reset``: what is dropped is said and dropped whole, what somebody needs is not, and the next run begins again."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.core.names import TableName
from fti_assets.errors import DamagedError, NotMaterializedError, SchemaChangedError, StoreError
from fti_assets.forget import as_text as as_forgotten
from fti_assets.forget import forget
from fti_assets.reset import as_text, plan_reset, reset
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.tiles import tiles_of
from fti_assets.testing import materialize, stores_in
from tests.forgetting import library
from tests.reset import shop
from tests.support.instances import dagster_home

ROOT = Path(__file__).parents[2]
NOW = "2025-01-20T00:00:00"
VISITS, HABITS, PEOPLE = (TableName("features", name) for name in ("visits_v1", "habits_v1", "people_v1"))


def made_in(home: Path, instance: dg.DagsterInstance | None = None) -> fti.Stores:
    stores, days = stores_in(home), (shop.FIRST, shop.LAST)
    materialize(shop.visits, stores=stores, partition=days, now=NOW, instance=instance)
    materialize(shop.habits, stores=stores, partition=("2025-01-11", shop.LAST), now=NOW, instance=instance)
    materialize(shop.people, stores=stores, now=NOW, instance=instance)
    bad = shop.visits_of(bad=True)
    materialize(bad, stores=stores, partition=shop.LAST, now=NOW, raise_on_error=False, instance=instance)
    return stores


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shop")
    made_in(home)
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return tmp_path


@pytest.fixture
def stores(home: Path) -> fti.Stores:
    return stores_in(home)


@pytest.fixture
def lake(stores: fti.Stores) -> Iterator[Lake]:
    with stores.offline_store().connect() as lake:
        yield lake


def run_reset(stores: fti.Stores, *names: str, definitions: dg.Definitions = shop.defs) -> Any:
    return reset(definitions, names or ("visits",), stores=stores)


def whole(stores: fti.Stores) -> bool:
    """Whether everything of the visits is there; False if the lake has nothing of them. Half is an error."""
    with stores.offline_store().connect() as lake:
        parts = [lake.has(VISITS), bool(lake.ledger(VISITS)), any(lake.has(one) for one in tiles_of(lake, VISITS))]
    assert len(set(parts)) == 1, parts
    return parts[0]


def test_it_says_what_it_would_drop_and_drops_nothing_else(stores: fti.Stores, lake: Lake, home: Path) -> None:
    (tiles,) = tiles_of(lake, VISITS)
    result = as_text(plan_reset(shop.defs, ["visits"], stores=stores))
    assert result.splitlines() == [
        "would drop of visits:",
        "  features.visits_v1: 96 rows in 12 partitions, with the ledger of their versions",
        f"  {tiles.full_name}: what windows keep of its partitions",
        "  online visits_v1: 2 keys",
        "  rejected rows of visits_v1: 1 file",
        "made from it, and not dropped:",
        "  habits_v1 was computed from 'visits_v1': its rows stay; run it again after that",
        "Dagster's records of visits_v1 are wiped: materializations, their partitions and checks",
        "snapshots that hold the rows stay readable until upkeep expires them",
    ]
    others = {table: sorted(lake.rows(table).fetchall()) for table in (HABITS, PEOPLE)}
    before = lake.snapshot()
    assert whole(stores)
    run_reset(stores)
    assert not whole(stores)
    assert stores.online_store().namespaces() == ()
    assert not (home / "lake" / "rejected" / "visits_v1").exists()
    assert {table: sorted(lake.rows(table).fetchall()) for table in (HABITS, PEOPLE)} == others
    assert lake.snapshot() == before + 1, "one commit"
    with pytest.raises(NotMaterializedError, match="visits_v1 is not in the offline store"):
        fti.read(shop.visits, stores=stores)


def test_the_next_run_takes_a_changed_schema(stores: fti.Stores, lake: Lake) -> None:
    changed = shop.visits_of(spent_as="str")
    with pytest.raises(SchemaChangedError):
        materialize(changed, stores=stores, partition=shop.FIRST, now=NOW)
    before = lake.snapshot()
    run_reset(stores)
    materialize(changed, stores=stores, partition=shop.FIRST, now=NOW)
    assert lake.types(VISITS)["spent"] == "VARCHAR"
    assert list(lake.ledger(VISITS)) == [shop.FIRST]
    (winner,) = stores.online_store().reader("visits_v1", columns=["spent"]).get_many([("ann",)], 2**62)
    assert "1.5" in repr(winner)
    old = lake.connection.execute(f"SELECT count(*) FROM {VISITS.sql} AT (VERSION => {before})").fetchall()
    assert old == [(96,)], "an old snapshot reads as it was"


def test_a_partitioned_group_may_become_a_whole_one(stores: fti.Stores, lake: Lake) -> None:
    run_reset(stores)

    @fti.feature_group(name="visits", keys=["person"])
    def visits() -> Any:
        import pandas as pd

        return pd.DataFrame({"person": ["ann"], "visits": [3]})

    materialize(visits, stores=stores, now=NOW)
    assert list(lake.ledger(VISITS)) == ["all"]


@pytest.mark.soak
def test_one_version_or_all_of_them(stores: fti.Stores, lake: Lake) -> None:
    second = shop.visits_of(version=2)
    definitions = fti.build_definitions([shop.habits, second])
    materialize(second, stores=stores, partition=shop.FIRST, now=NOW)
    run_reset(stores, "visits_v2", definitions=definitions)
    assert whole(stores)
    assert stores.online_store().namespaces() == ("visits_v1",)
    materialize(second, stores=stores, partition=shop.FIRST, now=NOW)
    run_reset(stores, "visits", definitions=definitions)
    assert [table.full_name for table in lake.tables()] == ["features.habits_v1", "features.people_v1"]


def test_what_is_no_longer_declared_is_reset_too(stores: fti.Stores, lake: Lake) -> None:
    run_reset(stores, "habits", definitions=fti.build_definitions([shop.people]))
    assert not lake.has(HABITS)


def test_it_waits_for_the_writers_lock(stores: fti.Stores, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fti_assets.stores.lake.folder._LOCK_TIMEOUT_S", 0.05)
    with lake.store.lock(), pytest.raises(StoreError, match=r"the lock .*lake\.lock was held"):
        run_reset(stores)
    assert whole(stores)


def test_a_second_reset_finds_nothing_and_says_so(stores: fti.Stores) -> None:
    run_reset(stores)
    plan, _ = run_reset(stores)
    assert as_text(plan, is_done=True).startswith("nothing of visits is stored in ")


@pytest.mark.parametrize("name", ["visit", "visits_v3", ""])
def test_an_unknown_name_is_told_what_there_is(stores: fti.Stores, name: str) -> None:
    with pytest.raises(
        NotMaterializedError,
        match=f"there is no group, dataset or predictions '{name}': it can be 'habits', 'people' or 'visits'",
    ):
        run_reset(stores, name)


def test_an_external_table_cannot_be_reset(stores: fti.Stores) -> None:
    outside = fti.external_group(name="outside", source=fti.ParquetFiles(path="x.parquet"), keys=["k"])
    with pytest.raises(StoreError, match="'outside' is kept by another system"):
        run_reset(stores, "outside", definitions=fti.build_definitions([outside, shop.people]))


def test_what_has_changed_since_it_was_agreed_to_is_not_dropped(stores: fti.Stores) -> None:
    agreed = plan_reset(shop.defs, ["visits"], stores=stores)
    materialize(shop.visits, stores=stores, partition="2025-01-13", now=NOW)
    with pytest.raises(StoreError, match="has changed since it was shown, and nothing was dropped"):
        reset(shop.defs, ["visits"], stores=stores, agreed_plan=agreed)
    assert whole(stores)


# What somebody needs


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose champion learned from loans and members."""
    home = tmp_path_factory.mktemp("library")
    stores = stores_in(home)
    with clock.at(library.NOW):
        for group in library.GROUPS:
            materialize(group, stores=stores, partition=(library.FIRST, library.LAST))
        for declaration in (library.dataset, library.late_model):
            materialize(declaration, stores=stores, partition=library.CUTOFF)
    return home


@pytest.fixture
def at_the_library(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fti.Stores:
    shutil.copytree(served, tmp_path, dirs_exist_ok=True)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return stores_in(tmp_path)


LIBRARY = fti.build_definitions([*library.GROUPS, library.answers])


def refused(stores: fti.Stores, *names: str) -> str:
    with stores.offline_store().connect() as lake:
        before = lake.snapshot()
        with pytest.raises(StoreError) as caught:
            reset(LIBRARY, names, stores=stores)
        assert lake.snapshot() == before
    return str(caught.value)


def test_what_a_champion_learned_from_is_not_reset(at_the_library: fti.Stores) -> None:
    models = at_the_library.model_store()
    champion = models.champion("late_model").reference
    for names in (["loans"], ["members"], ["loans", "late_dataset"], ["late_dataset"]):
        result = refused(at_the_library, *names)
        assert f"model late_model {champion}, the champion, learned from '" in result
        assert "raise its version" in result
        assert f"if nothing asks model 'late_model' any more, delete its folder {models.root}/late_model" in result
    assert "reset the rest alone: fti reset members_v2" in refused(at_the_library, "members")
    reset(LIBRARY, ["members_v2"], stores=at_the_library)
    reset(LIBRARY, ["visits"], stores=at_the_library)


def test_what_rollback_can_go_back_to_is_not_reset(at_the_library: fti.Stores) -> None:
    models = at_the_library.model_store()
    first = models.champion("late_model").reference
    with clock.at(library.NOW):
        materialize(library.late_model, stores=at_the_library, partition=library.CUTOFF)
    (second,) = (build.reference for build in models.builds("late_model") if build.reference != first)
    assert models.champion("late_model").reference == second
    result = refused(at_the_library, "loans")
    assert f"late_model {first}, a champion before, to which a rollback can go back" in result
    assert f"late_model {second}, the champion" in result


def test_what_dataset_is_pinned_to_is_reset_with_it(at_the_library: fti.Stores, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "models" / "late_model")  # what the error about the champion says
    result = refused(at_the_library, "returns")  # the label's group
    assert "dataset late_dataset_v1 is pinned to rows of 'returns_v1' (1 cutoffs)" in result
    assert result.endswith("What you can do: reset the datasets with it: fti reset returns late_dataset_v1")
    words = result.rpartition("fti reset ")[2].split()
    reset(LIBRARY, words, stores=at_the_library)
    with at_the_library.offline_store().connect() as lake:
        assert {"features.returns_v1", "datasets.late_dataset_v1"}.isdisjoint(
            table.full_name for table in lake.tables()
        )


def test_a_manifest_that_cannot_be_read_forbids_it(at_the_library: fti.Stores) -> None:
    (manifest,) = at_the_library.model_store().root.glob("late_model/v1/*/manifest.json")
    manifest.write_text("{")
    with pytest.raises(DamagedError):
        reset(LIBRARY, ["loans"], stores=at_the_library)


# The command


def typed(stores: fti.Stores, *words: str) -> int:
    return main(["reset", *words, "-m", "tests.reset.shop", "--lake", str(stores.lake), "--models", str(stores.models), "--online",
                 str(stores.online)])  # fmt: skip


@pytest.mark.parametrize(("answer", "dropped"), [("y", True), ("YES", True), ("n", False), ("", False), (None, False)])
def test_the_command_asks(
    stores: fti.Stores, answer: str | None, dropped: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    def reply(question: str) -> str:
        assert question == "drop it? [y/N] "
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", reply)
    assert typed(stores, "visits") == (0 if dropped else 1)
    assert whole(stores) != dropped
    printed = capsys.readouterr()
    assert printed.out.startswith("would drop of visits:\n  features.visits_v1: 96 rows in 12 partitions")
    assert ("\ndropped of visits:\n" in printed.out) == dropped
    assert (printed.err == "fti: nothing was dropped: answer y, or say --yes\n") != dropped


def test_the_command_does_not_ask_with_yes(
    stores: fti.Stores, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("it asks"))
    assert typed(stores, "visits", "people", "--yes") == 0
    assert not whole(stores)
    assert "Dagster was not told, since DAGSTER_HOME is not set" in capsys.readouterr().out


def test_dagster_forgets_what_was_materialized(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(tmp_path / "dagster")))
    stores = stores_in(home)
    with dg.DagsterInstance.get() as instance:
        materialize(shop.visits, stores=stores, partition=shop.LAST, now=NOW, instance=instance)
        materialize(shop.people, stores=stores, now=NOW, instance=instance)
    assert typed(stores, "visits", "--yes") == 0
    assert "wiped Dagster's records of 1 asset" in capsys.readouterr().out
    with dg.DagsterInstance.get() as instance:
        assert not instance.get_materialized_partitions(shop.visits.key)
        assert instance.get_latest_materialization_event(shop.people.key) is not None
        materialize(shop.visits, stores=stores, partition=shop.LAST, now=NOW, instance=instance)
        assert instance.get_materialized_partitions(shop.visits.key) == {shop.LAST}


# Killed

RESETTER = """
import os, sys
os.environ.pop("DAGSTER_HOME", None)
import fti_assets.reset.drop as drop
from fti_assets.testing import stores_in
from tests.reset import shop

def die(*_, **__):
    os._exit(9)

def dying_after(function):
    def called(*given, **named):
        function(*given, **named)
        die()
    return called

def within_the_commit(lake, tables, *, message):
    lake.connection.execute("BEGIN")
    for table in tables:
        lake.connection.execute(f"DROP TABLE IF EXISTS {table.sql}")
        die()

for line in sys.stdin:
    point, home = line.split()
    child = os.fork()
    if child == 0:
        stores = stores_in(home)
        online = type(stores.online_store())
        match point:
            case "looked":
                drop.drop_tables = die
            case "dropping":
                drop.drop_tables = within_the_commit
            case "dropped":
                drop.drop_tables = dying_after(drop.drop_tables)
            case "online":
                online.drop = dying_after(online.drop)
            case "rejected":
                drop._wipe = die
        drop.reset(shop.defs, ["visits"], stores=stores)
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.soak
def test_killed_at_any_step_it_is_old_or_new(made: Path, tmp_path: Path) -> None:
    points = {"looked": True, "dropping": True, "dropped": False, "online": False, "rejected": False}
    homes = {point: shutil.copytree(made, tmp_path / point) for point in points}
    result = "".join(f"{point} {home}\n" for point, home in homes.items())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", RESETTER],
        cwd=ROOT,
        env=environment,
        input=result,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.split() == ["9"] * len(points), done.stderr[-3000:]
    for point, is_old in points.items():
        stores = stores_in(homes[point])
        assert whole(stores) == is_old, point
        if is_old:
            assert stores.online_store().namespaces() == ("visits_v1",)
            assert len(fti.read(shop.visits, stores=stores)) == 96
        elif point == "dropped":  # the next run of the group replaces what is left of the old values
            changed = shop.visits_of(spent_as="int")
            again = stores_in(shutil.copytree(homes[point], tmp_path / "again"))
            materialize(changed, stores=again, partition=shop.FIRST, now=NOW)
            reader = again.online_store().reader("visits_v1", columns=["spent"])
            assert [winner.values for winner in reader.get_many([("ann",), ("bob",)], 2**62)] == [(1,), (1,)]
        run_reset(stores)  # a second one ends what the first began
        assert not whole(stores)
        assert stores.online_store().namespaces() == ()
        assert not (homes[point] / "lake" / "rejected" / "visits_v1").exists()


# Forgetting what was reset


def files_with(home: Path, name: str) -> list[Path]:
    data = (home / "lake" / "data" / "features" / "visits_v1").rglob("*.parquet")
    return [file for file in data if name.encode() in file.read_bytes()]


@pytest.mark.parametrize("again", [None, "float", "str"])
def test_a_key_is_forgotten_in_what_was_reset(stores: fti.Stores, home: Path, again: str | None) -> None:
    definitions, key = fti.build_definitions([shop.visits]), {"person": "ann"}
    run_reset(stores, "visits", "habits", "people")
    if again is not None:  # under the old schema or another
        materialize(shop.visits_of(spent_as=again), stores=stores, partition=shop.FIRST, now=NOW)
    assert files_with(home, "ann")
    done = forget(definitions, "visits", key, stores=stores, dry_run=True)
    assert not done.nothing
    assert done.snapshots
    if again is None:
        assert "features.visits_v1: holds no rows now, but at snapshots" in as_forgotten(done)
    forget(definitions, "visits", key, stores=stores, expire=True)
    assert not files_with(home, "ann")
    assert forget(definitions, "visits", key, stores=stores, dry_run=True).nothing
