"""An environment runs a change on real data: main is not touched before the merge, and after it is what the change gives there."""

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets import environments
from fti_assets.cli import main
from fti_assets.core.names import TableName
from fti_assets.core.rollouts.rollout import Arm, Rollout
from fti_assets.errors import DamagedError, NotMaterializedError, StoreError
from fti_assets.features.published.reading import close_stores
from fti_assets.forget import forget
from fti_assets.stores.lake.connection import ask_catalog
from fti_assets.stores.lake.tables.staged_contents import contents_of
from fti_assets.stores.lake.upkeep.expiry import upkeep
from fti_assets.stores.lake.upkeep.repair import repair
from fti_assets.stores.models.aliases import Aliases, RetiredBuilds, with_rollout
from fti_assets.testing import stores_in
from tests.environments import till

OLD, NEW = till.system(), till.system(factor=2.0)
BUSY, DAYS = TableName("features", "busy_v1"), 12
AGAIN = {"ops": {"scores_v1": {"config": {"predict_again": True}}}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("till")
    till.run_all(OLD, stores_in(home))
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    for name in ("DAGSTER_HOME", "FTI_ENV", "FTI_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def stores(home: Path) -> fti.Stores:
    return stores_in(home)


def rerun(one: Any, stores: fti.Stores) -> None:
    """What a change of ``busy`` calls for."""
    till.run(one.busy, stores, ("2025-01-03", till.LAST))
    till.run(one.dataset, stores, till.CUTOFF)
    till.run(one.model, stores, till.CUTOFF)
    till.run(one.scores, stores, till.LAST, run_config=AGAIN)


def contents(stores: fti.Stores) -> dict[str, dict[str, tuple[str, int]]]:
    """The data versions by the ledger, and hashed again from the rows."""
    results = {}
    with stores.offline_store().connect() as lake, lake.one_snapshot():
        for table in lake.tables():
            ledger = lake.ledger(table)
            rows = lake.rows(table, with_partition=True)
            rows.create("hashed_anew")
            assert contents_of(lake, "hashed_anew", list(ledger)) == {
                key: (record.data_version, record.rows) for key, record in ledger.items()
            }
            lake.connection.execute("DROP TABLE hashed_anew")
            results[table.full_name] = {key: (one.data_version, one.rows) for key, one in ledger.items()}
    return results


def without_builds(content: dict[str, Any]) -> dict[str, Any]:
    """Without answers, which name builds that get a random name each."""
    return {table: its for table, its in content.items() if not table.startswith("predictions.")}


def bytes_of(stores: fti.Stores) -> dict[str, str]:
    """The hash of each file of main's stores, without the environments, locks and what SQLite keeps beside the catalog."""
    root = stores.offline_store().root
    places = [root, stores.model_store().root, Path(stores.online_store().location)]
    results = {}
    for file in (file for place in places for file in place.rglob("*") if file.is_file()):
        if (
            "environments" in file.parts
            or file.suffix in (".lock", ".sqlite-shm", ".sqlite-wal")
            or file.name == ".lock"
        ):
            continue
        results[str(file)] = hashlib.sha256(file.read_bytes()).hexdigest()
    return results


def catalog_of(stores: fti.Stores) -> list[Any]:
    """What the catalog says, whatever its journal holds."""
    with stores.offline_store().connect() as lake:
        names = ask_catalog(lake, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
        return [(name, sorted(map(str, ask_catalog(lake, f'SELECT * FROM "{name}"')))) for (name,) in names]


def test_main_is_untouched_until_the_merge_and_then_is_what_the_change_gives_there(
    home: Path, made: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stores, beside = stores_in(home), tmp_path_factory.mktemp("beside")
    shutil.copytree(made, beside, dirs_exist_ok=True)
    before, catalog = bytes_of(stores), catalog_of(stores)
    assert (len(before) > 30, len(catalog) > 20) == (True, True)
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    assert contents(branch) == contents(stores)

    rerun(NEW, branch)
    assert bytes_of(stores) == before
    assert catalog_of(stores) == catalog
    assert without_builds(contents(branch)) != without_builds(contents(stores))

    rerun(NEW, stores_in(beside))
    difference = environments.difference(stores, "pr-12")
    assert {one.table.full_name for one in difference.partitions} == {
        "features.busy_v1", "datasets.refund_dataset_v1", "predictions.scores_v1"
    }  # fmt: skip
    result = environments.merge(NEW.defs, stores, "pr-12")
    assert without_builds(contents(stores)) == without_builds(contents(stores_in(beside)))
    assert contents(stores) == contents(branch)

    # The champion that the environment had is main's, with what it learned from.
    champion = stores.model_store().champion("refund_model")
    assert champion.reference == branch.model_store().champion("refund_model").reference
    with stores.offline_store().connect() as lake:
        [record] = lake.ledger(TableName("datasets", "refund_dataset_v1")).values()
        assert champion.snapshot == json.loads(record.record)["snapshot"] == result.snapshot == lake.snapshot()
    other = stores_in(beside).model_store().champion("refund_model")
    assert (champion.metrics, champion.dataset.data_version, champion.code_version) == (
        other.metrics, other.dataset.data_version, other.code_version
    )  # fmt: skip

    # Once more is nothing, and so is the difference.
    assert environments.difference(stores, "pr-12").is_empty
    merged, catalog = bytes_of(stores), catalog_of(stores)
    again = environments.merge(NEW.defs, stores, "pr-12")
    assert (again.partitions, again.builds, again.champions) == ([], [], {})
    assert (bytes_of(stores), catalog_of(stores)) == (merged, catalog)

    environments.drop(stores, "pr-12")
    assert not (stores.offline_store().root / "environments").exists()
    assert (bytes_of(stores), catalog_of(stores)) == (merged, catalog)
    till.run(NEW.model, stores, till.CUTOFF)  # learns from the dataset that was merged


@pytest.mark.soak
def test_upkeep_of_main_keeps_the_files_that_an_environment_reads(stores: fti.Stores) -> None:
    folder = stores.offline_store().root / "data" / "features" / "sales_v1"
    till.run(till.system(raised=1.0).sales, stores)  # to whose snapshot nothing of main is pinned
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    before, read = contents(branch), set(folder.rglob("*.parquet"))
    till.run(till.system(raised=2.0).sales, stores)
    assert keep_up(stores).expired
    assert contents(branch) == before
    till.run(NEW.busy, branch, ("2025-01-05", "2025-01-06"))  # which reads the sales
    for _ in range(2):
        assert (keep_up(stores).deleted, keep_up(stores).orphans) == (0, 0)
    assert contents(branch)["features.sales_v1"] == before["features.sales_v1"]
    assert read < set(folder.rglob("*.parquet"))

    environments.discard(stores, "pr-12")
    assert keep_up(stores).deleted == DAYS
    assert len(read & set(folder.rglob("*.parquet"))) == DAYS  # those of the snapshot that the champion is pinned to


def test_upkeep_of_an_environment_deletes_no_file_of_main(stores: fti.Stores) -> None:
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    before = contents(stores)
    till.run(till.system(raised=1.0).sales, branch)
    till.run(till.system(raised=2.0).sales, branch)
    assert keep_up(branch).expired
    assert contents(stores) == before
    assert len(environments.difference(stores, "pr-12").partitions) == DAYS


def keep_up(stores: fti.Stores) -> Any:
    return upkeep(
        stores.offline_store(), stores.model_store(), stores.online_store(), keep=timedelta(0), grace=timedelta(0)
    )


# What it rests on is refused too where a merge before has moved what rests on it, and where a build learned from it.
@pytest.mark.soak
@pytest.mark.parametrize(
    "what", ["same partition", pytest.param("what it rests on", marks=pytest.mark.soak), "the champion"]
)
def test_a_merge_over_a_changed_main_is_refused_whole(stores: fti.Stores, what: str) -> None:
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    till.run(NEW.busy, branch, ("2025-01-05", "2025-01-06"))
    till.run(NEW.dataset, branch, till.CUTOFF)
    till.run(NEW.model, branch, till.CUTOFF)
    match what:
        case "same partition":
            till.run(till.system(factor=3.0).busy, stores, "2025-01-06")
            problem = "features.busy_v1 2025-01-06 has 8 rows in main, .* nor are its own (written by run "
        case "what it rests on":
            till.run(till.system(raised=1.0).sales, stores, "2025-01-04")
            problem = "features.sales_v1 '2025-01-04', which features.busy_v1 rests on, has other rows (written by run "
        case _:
            till.run(till.system(strength=0.1).model, stores, till.CUTOFF)
            problem = "the champion of model 'refund_model' was changed in main to v1/"
    before, catalog = bytes_of(stores), catalog_of(stores)
    with pytest.raises(StoreError, match=problem.replace("(", r"\(")):
        environments.merge(NEW.defs, stores, "pr-12")
    assert (bytes_of(stores), catalog_of(stores)) == (before, catalog)


@pytest.mark.soak
def test_a_main_that_went_on_elsewhere_is_no_hindrance(stores: fti.Stores) -> None:
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    till.run(NEW.busy, branch, ("2025-01-05", "2025-01-06"))
    till.run(OLD.sales, stores, "2025-01-13", raise_on_error=False)
    till.run(till.system(raised=1.0).sales, stores, "2025-01-10")
    busy = contents(branch)["features.busy_v1"]
    result = environments.merge(NEW.defs, stores, "pr-12")
    assert {table.full_name: keys for table, keys in result.by_table.items()} == {
        "features.busy_v1": ["2025-01-05", "2025-01-06"]
    }
    assert contents(stores)["features.busy_v1"] == busy
    # It goes on: what was merged is its own, and may be changed again.
    till.run(till.system(factor=5.0).busy, branch, "2025-01-05")
    environments.merge(NEW.defs, stores, "pr-12")
    assert contents(stores)["features.busy_v1"] == contents(branch)["features.busy_v1"] != busy


def killed(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


INSTANTS = [
    "after a build",
    *(pytest.param(when, marks=pytest.mark.soak) for when in ("before the commit", "after the commit")),
]


@pytest.mark.soak
@pytest.mark.parametrize("instant", INSTANTS)
def test_a_merge_that_is_killed_half_way_is_done_by_doing_it_again(
    stores: fti.Stores, instant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    rerun(NEW, branch)
    before = contents(stores)

    place = {
        "before the commit": "fti_assets.stores.lake.branches.merging._replace_rows",
        "after the commit": "fti_assets.environments.merging._note",
        "after a build": "fti_assets.environments.merging.move_aliases",
    }[instant]
    with monkeypatch.context() as patch:
        patch.setattr(place, killed)
        with pytest.raises(KeyboardInterrupt):
            environments.merge(NEW.defs, stores, "pr-12")
    assert contents(stores) == (before if instant == "before the commit" else contents(branch))
    environments.merge(NEW.defs, stores, "pr-12")
    assert contents(stores) == contents(branch)
    champion = stores.model_store().champion("refund_model")
    assert champion.reference == branch.model_store().champion("refund_model").reference
    with stores.offline_store().connect() as lake:
        assert champion.snapshot <= lake.snapshot()
        # What it is pinned to has what it learned from.
        at_pin = {key: one.data_version for key, one in lake.ledger(BUSY, snapshot=champion.snapshot).items()}
        assert at_pin == {key: one.data_version for key, one in lake.ledger(BUSY).items()}


def test_a_dataset_of_rows_that_are_no_more_is_not_merged(stores: fti.Stores) -> None:
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    till.run(NEW.busy, branch, ("2025-01-03", till.LAST))
    till.run(NEW.dataset, branch, till.CUTOFF)
    till.run(till.system(factor=3.0).busy, branch, "2025-01-06")
    before = contents(stores)
    with pytest.raises(StoreError, match="was made of rows that the environment 'pr-12' has no more: 'busy_v1'"):
        environments.merge(NEW.defs, stores, "pr-12")
    assert contents(stores) == before


@pytest.mark.soak
def test_new_tables_and_columns_are_merged(stores: fti.Stores) -> None:
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    changed = till.system(version=2, with_seats=True)
    till.run(changed.busy, branch, ("2025-01-03", till.LAST))
    till.run(changed.shops, branch, None)
    environments.merge(changed.defs, stores, "pr-12")
    assert contents(stores) == contents(branch)
    with stores.offline_store().connect() as lake:
        assert lake.has(TableName("features", "busy_v2"))
        assert "seats" in lake.types(TableName("features", "shops_v1"))


def test_what_is_not_declared_is_not_merged(stores: fti.Stores) -> None:
    environments.create(stores, "pr-12")
    till.run(till.system(version=2).busy, stores.in_environment("pr-12"), ("2025-01-05", "2025-01-06"))
    with pytest.raises(StoreError, match=r"features\.busy_v2, .* is not declared in these definitions"):
        environments.merge(OLD.defs, stores, "pr-12")


@pytest.mark.parametrize("name", ["", "main", "PR-12", "a/b", "../lake", ".hidden", "a b", "ü", "x" * 64, "a\0b", "-f"])
def test_odd_names_are_refused(stores: fti.Stores, name: str) -> None:
    with pytest.raises(StoreError, match="an environment cannot be called"):
        environments.create(stores, name)
    assert not (stores.offline_store().root / "environments").exists()


def test_an_environment_of_an_environment_is_refused(stores: fti.Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    environments.create(stores, "pr-12")
    with pytest.raises(StoreError, match="the environment 'pr-12' is chosen, and an environment is made of main alone"):
        environments.create(stores.in_environment("pr-12"), "pr-13")
    monkeypatch.setenv("FTI_ENV", "pr-12")
    for refused in (environments.create, environments.drop):
        with pytest.raises(StoreError, match="unset FTI_ENV"):
            refused(stores, "pr-13")
    monkeypatch.delenv("FTI_ENV")
    folder = stores.offline_store().root / "environments" / "pr-12" / "lake"
    with pytest.raises(StoreError, match="is the environment 'pr-12' of the lake at"):
        environments.create(fti.Stores(lake=folder, models=stores.models, online=stores.online), "pr-13")
    with pytest.raises(StoreError, match="has an environment 'pr-12' already"):
        environments.create(stores, "pr-12")


def test_what_is_not_there_is_said(stores: fti.Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ask in (environments.difference, environments.drop):
        with pytest.raises(
            NotMaterializedError, match="has no environment 'pr-9': it has none. Make it with fti env create pr-9"
        ):
            ask(stores, "pr-9")
    with pytest.raises(NotMaterializedError, match="there is no offline store"):
        environments.create(stores_in(tmp_path / "nowhere"), "pr-12")
    environments.create(stores, "pr-12")
    monkeypatch.setenv("FTI_ENV", "pr-13")
    with pytest.raises(NotMaterializedError, match="has no environment 'pr-13': it has 'pr-12'"):
        till.run(OLD.sales, stores, till.LAST)
    with pytest.raises(NotMaterializedError, match="has no environment 'pr-13'"):
        fti.read("sales_v1", stores=stores)


@pytest.mark.soak
def test_the_environment_is_chosen_without_a_change_to_assets(
    stores: fti.Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments.create(stores, "pr-12")
    before = contents(stores)
    monkeypatch.setenv("FTI_ENV", "pr-12")
    with dg.DagsterInstance.ephemeral() as instance:
        till.run(NEW.busy, stores, "2025-01-05", instance=instance)
        [run] = instance.get_runs()
        assert run.tags["fti/environment"] == "pr-12"
    changed = fti.read(NEW.busy, stores=stores, partitions=["2025-01-05"])["takings_1d"]
    assert contents(stores.in_environment("main")) == before
    monkeypatch.setenv("FTI_ENV", "main")
    assert fti.read(NEW.busy, stores=stores, partitions=["2025-01-05"])["takings_1d"].sum() * 2 == pytest.approx(
        changed.sum()
    )


def test_a_main_that_was_reset_is_told(stores: fti.Stores, made: Path) -> None:
    environments.create(stores, "pr-12")
    till.run(NEW.busy, stores.in_environment("pr-12"), "2025-01-05")
    root = stores.offline_store().root
    kept = root.parent / "kept"
    (root / "environments").rename(kept)
    shutil.rmtree(root)
    till.run(OLD.shops, stores, None)
    kept.rename(root / "environments")
    for ask in (environments.difference, lambda *those: environments.merge(NEW.defs, *those)):
        with pytest.raises(DamagedError, match="it was reset or put back since"):
            ask(stores, "pr-12")
    [facts] = environments.environments(stores)
    assert "it was reset or put back since" in str(facts)
    with pytest.raises(DamagedError, match="is not there"):
        fti.read("sales_v1", stores=stores.in_environment("pr-12"))
    environments.drop(stores, "pr-12")
    assert environments.environments(stores) == []


def test_what_needs_all_files_is_refused(stores: fti.Stores) -> None:
    environments.create(stores, "pr-12")
    with pytest.raises(StoreError, match="has the environment 'pr-12', which reads its files"):
        forget(OLD.defs, "shops", {"shop": "a"}, stores=stores)
    with pytest.raises(StoreError, match="it cannot forget a key"):
        forget(OLD.defs, "shops", {"shop": "a"}, stores=stores.in_environment("pr-12"))
    with pytest.raises(StoreError, match="it cannot be repaired"):
        repair(stores.in_environment("pr-12").offline_store(), {}, above=0)
    (stores.offline_store().root / "environments" / "pr-12" / "held.txt").unlink()
    with pytest.raises(DamagedError, match="it is unknown which files the environment 'pr-12' reads"):
        keep_up(stores)
    environments.drop(stores, "pr-12")
    keep_up(stores)


def test_a_champion_and_a_rollout_are_merged_apart(stores: fti.Stores) -> None:
    """Main starts a rollout and deletes old builds meanwhile; the environment brings another champion."""
    mains = stores.model_store()
    first = mains.champion("refund_model").reference
    till.run(till.system(strength=0.5).model, stores, till.CUTOFF)
    second = mains.champion("refund_model").reference
    environments.create(stores, "pr-12")
    changed = till.system(strength=0.1)
    till.run(changed.model, stores.in_environment("pr-12"), till.CUTOFF)
    arm = Arm("old", first, 0.25)
    rollout = Rollout("canary", (arm,), ("sale",), "salt", till.NOW, "tried again")

    def starts(aliases: Aliases) -> Aliases:
        old = RetiredBuilds(till.NOW, ("v1/old",), "keep 3")
        return replace(with_rollout(aliases, rollout, "started", "tried again"), retired=(old,))

    before = mains.change_aliases("refund_model", starts)
    assert (before.champion, before.arms) == (second, {first: "old"})
    result = environments.merge(changed.defs, stores, "pr-12")
    third = stores.in_environment("pr-12").model_store().champion("refund_model").reference
    after = mains.aliases("refund_model")
    assert result.champions == {"refund_model": third}
    assert (after.champion, after.arms, after.retired) == (third, {first: "old"}, before.retired)
    assert environments.difference(stores, "pr-12").is_empty

    # Both have changed the rollout: that alone is refused.
    branch = stores.in_environment("pr-12").model_store()
    other = replace(rollout, arms=(replace(arm, share=0.5),))
    branch.change_aliases("refund_model", lambda aliases: with_rollout(aliases, other, "started", "here too"))
    with pytest.raises(StoreError, match="the rollout of model 'refund_model' was changed in main, at .*: tried again"):
        environments.merge(changed.defs, stores, "pr-12")
    assert mains.aliases("refund_model") == after


@pytest.mark.parametrize("who", ["nobody", pytest.param("main", marks=pytest.mark.soak)])
def test_an_environment_of_an_earlier_release_is_merged(stores: fti.Stores, who: str) -> None:
    """It says of all aliases together what they were."""
    environments.create(stores, "pr-12")
    about = stores.offline_store().root / "environments" / "pr-12" / "environment.json"
    content = json.loads(about.read_text())
    del content["models"]["refund_model"]["marks"]
    about.write_text(json.dumps(content))
    changed = till.system(strength=0.1)
    assert environments.difference(stores, "pr-12").is_empty
    till.run(changed.model, stores.in_environment("pr-12"), till.CUTOFF)
    if who == "main":
        till.run(till.system(strength=0.5).model, stores, till.CUTOFF)
        with pytest.raises(StoreError, match="the champion of model 'refund_model' was changed in main to"):
            environments.merge(changed.defs, stores, "pr-12")
    else:
        assert list(environments.merge(changed.defs, stores, "pr-12").champions) == ["refund_model"]


def test_work_that_main_has_not_is_dropped_by_force_alone(stores: fti.Stores) -> None:
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    till.run(OLD.busy, branch, "2025-01-05")  # the same rows
    till.run(NEW.busy, branch, "2025-01-06")
    till.run(till.system(strength=0.1).model, branch, till.CUTOFF)
    unmerged = (
        r"1 partition of 'features.busy_v1' and builds or a champion of 'refund_model' that main has not.*--force"
    )
    with pytest.raises(StoreError, match=unmerged):
        environments.drop(stores, "pr-12")
    assert [one.changed_partitions for one in environments.environments(stores)] == [2]
    environments.discard(stores, "pr-12")
    assert environments.environments(stores) == []


def test_who_reads_an_environment_that_is_dropped_is_told(stores: fti.Stores) -> None:
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")

    def read_while_it_is_dropped() -> None:
        with branch.offline_store().connect() as lake:
            till.run(NEW.busy, branch, "2025-01-06")
            environments.discard(stores, "pr-12")
            lake.rows(BUSY).fetchall()

    with pytest.raises(NotMaterializedError, match="the environment 'pr-12' was dropped while it was in use"):
        read_while_it_is_dropped()


def test_what_was_half_made_is_no_environment(stores: fti.Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("fti_assets.environments.making.share_models", killed)
        with pytest.raises(KeyboardInterrupt):
            environments.create(stores, "pr-12")
    assert environments.environments(stores) == []
    (stores.offline_store().root / "environments" / ".pr-1.dropped").mkdir(parents=True)
    environments.create(stores, "pr-12")
    assert [one.name for one in (stores.offline_store().root / "environments").iterdir()] == ["pr-12"]


def test_from_the_command_line(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(home)
    (home / "definitions.py").write_text(
        "import os\nfrom fti_assets.testing import stores_in\nfrom tests.environments import till\n"
        "defs = till.system(factor=float(os.environ['FACTOR']), stored=stores_in('.')).defs\n"
    )
    monkeypatch.setenv("FACTOR", "2")
    assert main(["env", "create", "pr-12"]) == 0
    assert "export FTI_ENV=pr-12" in capsys.readouterr().out
    till.run(NEW.busy, stores_in(home).in_environment("pr-12"), "2025-01-05")
    assert main(["env", "list"]) == 0
    assert ", 1 partition run since, " in capsys.readouterr().out
    assert main(["env", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["changed_partitions"] == 1
    assert main(["env", "diff", "pr-12", "--exit-code"]) == 1
    assert "features.busy_v1: 1 changed\n  2025-01-05  changed  main 8 rows" in capsys.readouterr().out
    assert main(["env", "merge", "pr-12"]) == 0
    assert "features.busy_v1: 1 partition, in snapshot" in capsys.readouterr().out
    assert main(["env", "diff", "pr-12", "--exit-code", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["partitions"][0]["change"] == "in main"
    assert main(["env", "drop", "pr-12"]) == 0
    assert main(["env", "drop", "pr-12"]) == 1


def test_merging_small_files_of_main_keeps_those_that_an_environment_reads(stores: fti.Stores) -> None:
    with stores.offline_store().connect() as lake:
        for _ in range(3):
            lake.connection.execute(f"INSERT INTO {BUSY.sql} FROM {BUSY.sql} WHERE _partition = '2025-01-05' LIMIT 2")
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")

    def rows() -> list[Any]:
        with branch.offline_store().connect() as lake:
            lake.look_at_files(BUSY, None, snapshot=lake.snapshot(), whole=True)
            return sorted(lake.rows(BUSY).fetchall(), key=str)

    before = rows()
    assert keep_up(stores).merged == {"features.busy_v1": (4, 1)}
    keep_up(stores)
    assert rows() == before
    environments.drop(stores, "pr-12")
    assert keep_up(stores).deleted == 4


@pytest.mark.soak
def test_a_new_version_is_merged_with_what_it_promises_to_other_code_locations(stores: fti.Stores) -> None:
    changed = till.system(version=2, factor=2.0)
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    till.run(changed.busy, branch, ("2025-01-03", till.LAST))
    assert fti.group("busy", version=2, stores=branch).keys == changed.busy.keys
    close_stores()
    environments.merge(changed.defs, stores, "pr-12")
    assert fti.group("busy", version=2, stores=stores).times == changed.busy.times
    close_stores()


@pytest.mark.soak
def test_a_champion_is_merged_again_where_main_has_the_one_that_was_merged_before(stores: fti.Stores) -> None:
    environments.create(stores, "pr-12")
    branch, mains = stores.in_environment("pr-12"), stores.model_store()
    for strength in (0.1, 0.01):
        changed = till.system(strength=strength)
        till.run(changed.model, branch, till.CUTOFF)
        champion = branch.model_store().aliases("refund_model").champion
        assert environments.merge(changed.defs, stores, "pr-12").champions == {"refund_model": champion}
        assert mains.aliases("refund_model") == branch.model_store().aliases("refund_model")

    # One that main has rolled back since stays so, and is no difference of the environment's.
    mains.roll_back("refund_model", reason="worse")
    before = mains.aliases("refund_model").champion
    assert environments.difference(stores, "pr-12").is_empty
    assert environments.merge(changed.defs, stores, "pr-12").champions == {}
    assert mains.aliases("refund_model").champion == before != champion
    till.run(till.system(strength=1.0).model, branch, till.CUTOFF)
    with pytest.raises(StoreError, match="the champion of model 'refund_model' was changed in main to"):
        environments.merge(OLD.defs, stores, "pr-12")


@pytest.mark.parametrize("what", [pytest.param("moved", marks=pytest.mark.soak), "read"])
def test_rows_made_under_another_contract_than_mains_are_not_merged(stores: fti.Stores, what: str) -> None:
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    if what == "moved":
        till.run(NEW.busy, branch, "2025-01-05")
    else:
        till.run(till.system(test="3d").dataset, branch, till.CUTOFF)
    short = till.system(ttl="6h")
    till.run(short.busy, stores, till.LAST)  # the same rows, which are older than main wants
    before, catalog = bytes_of(stores), catalog_of(stores)
    with pytest.raises(
        StoreError, match=r"features\.busy_v1 has another contract, in 'online_history_us' and 'ttl_us', than"
    ):
        environments.merge(till.system(factor=2.0, ttl="6h", test="3d").defs, stores, "pr-12")
    assert (bytes_of(stores), catalog_of(stores)) == (before, catalog)
    with stores.offline_store().connect() as lake:
        assert json.loads(lake.contract(BUSY))["ttl_us"] == 6 * 3600 * 10**6


@pytest.mark.soak
def test_a_contract_is_merged_with_its_rows_and_again(stores: fti.Stores) -> None:
    environments.create(stores, "pr-12")
    for hours, day in ((6, "2025-01-05"), (12, "2025-01-06")):
        changed = till.system(factor=2.0, ttl=f"{hours}h")
        till.run(changed.busy, stores.in_environment("pr-12"), day)
        environments.merge(changed.defs, stores, "pr-12")
        with stores.offline_store().connect() as lake:
            assert json.loads(lake.contract(BUSY))["ttl_us"] == hours * 3600 * 10**6


@pytest.mark.parametrize("what", [pytest.param("dataset", marks=pytest.mark.soak), "group"])
def test_a_build_that_learned_from_what_main_has_changed_is_not_merged(stores: fti.Stores, what: str) -> None:
    environments.create(stores, "pr-12")
    changed = till.system(strength=0.1)
    till.run(changed.model, stores.in_environment("pr-12"), till.CUTOFF)
    if what == "dataset":
        till.run(till.system(test="3d").dataset, stores, till.CUTOFF)
        problem = (
            r"datasets\.refund_dataset_v1 '2025-01-12', which the build .* of model 'refund_model' rests on, has other"
        )
    else:
        till.run(NEW.busy, stores, "2025-01-06")
        problem = r"features\.busy_v1 '2025-01-06', which datasets\.refund_dataset_v1 rests on, has other rows"
    champion = stores.model_store().aliases("refund_model").champion
    with pytest.raises(StoreError, match=problem):
        environments.merge(changed.defs, stores, "pr-12")
    assert stores.model_store().aliases("refund_model").champion == champion
    assert len(stores.model_store().builds("refund_model")) == 1


@pytest.mark.soak
def test_a_build_merged_after_its_rows_is_pinned_to_their_snapshot(
    stores: fti.Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    till.run(NEW.busy, branch, "2025-01-05")
    till.run(NEW.dataset, branch, till.CUTOFF)
    till.run(NEW.model, branch, till.CUTOFF)
    with monkeypatch.context() as patch:
        patch.setattr("fti_assets.environments.merging.publish_again", killed)
        with pytest.raises(KeyboardInterrupt):
            environments.merge(NEW.defs, stores, "pr-12")
    with stores.offline_store().connect() as lake:
        number = lake.snapshot()
    till.run(till.system(version=2).busy, stores, "2025-01-05")
    environments.merge(NEW.defs, stores, "pr-12")
    with stores.offline_store().connect() as lake:
        assert lake.snapshot() > number == stores.model_store().champion("refund_model").snapshot


@pytest.mark.soak
def test_rows_that_rest_on_merged_ones_of_what_main_has_changed_since_are_not_merged(stores: fti.Stores) -> None:
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    till.run(NEW.busy, branch, till.LAST)
    environments.merge(NEW.defs, stores, "pr-12")
    till.run(till.system(raised=1.0).sales, stores, "2025-01-11")  # which the answers do not read themselves
    till.run(NEW.scores, branch, till.LAST, run_config=AGAIN)
    with pytest.raises(
        StoreError, match="sales_v1 '2025-01-11', which features.busy_v1 .* What a merge moved before stays"
    ):
        environments.merge(NEW.defs, stores, "pr-12")


def test_answers_of_a_champion_that_main_has_replaced_are_not_merged(stores: fti.Stores) -> None:
    environments.create(stores, "pr-12")
    till.run(OLD.scores, stores.in_environment("pr-12"), till.LAST, run_config=AGAIN)
    till.run(till.system(strength=0.1).model, stores, till.CUTOFF)
    before = contents(stores)
    with pytest.raises(
        StoreError, match=r"predictions\.scores_v1 was answered by model 'refund_model', and the champion of .* by run "
    ):
        environments.merge(OLD.defs, stores, "pr-12")
    assert contents(stores) == before
