"""``fti plan``: what it says is recomputed is what is, once the changed code is run and the conditions have run the rest."""

import importlib
import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.core.names import TableName
from fti_assets.plan.plan import Plan, plan_change
from fti_assets.plan.text import as_text
from fti_assets.testing import stores_in
from fti_assets.testing.rehearsal import Rehearsal
from tests.environments import till
from tests.support.instances import dagster_home

LATER, LATEST = "2025-01-13T13:00:00", "2025-01-13T15:00:00"
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a source": {"raised": 1.0},
    "a derived group": {"factor": 2.0},
    "a source and what reads it": {"raised": 1.0, "factor": 2.0},
    "how far a group reads back": {"lookback": "3d"},
    "a ttl": {"ttl": "1h"},
    "an encoder": {"encoder": fti.Impute("median")},
    "a model's function": {"strength": 0.1},
    "a split": {"test": "3d"},
    "another column of a dataset": {"with_shop": True},
    "a new column": {"with_seats": True},
    "a version": {"version": 2, "factor": 2.0},
    "a version of a dataset": {"with_shop": True, "dataset_version": 2},
}
SHORTEST = ("nothing", "a source", "a split", "a new column", "an encoder")
"""The changes that ``make test`` runs: each of the others runs more partitions by the same rules."""


def made_since(instance: dg.DagsterInstance, keys: Any, after: int) -> dict[str, set[str]]:
    """The partitions that were materialized after an event, by asset; of an asset without partitions "all"."""
    results = defaultdict(set)
    for key in keys:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, after_storage_id=after), limit=1000
        )
        for record in records.records:
            results[key.to_user_string()].add(record.partition_key or "all")
    return dict(results)


def newest_event(instance: dg.DagsterInstance, keys: Any) -> int:
    return max(record.storage_id for key in keys for record in instance.fetch_materializations(key, limit=1).records)


def recomputed(plan: Plan) -> dict[str, set[str]]:
    return {one.asset: {*one.run, *one.follow} for one in plan.assets if one.run or one.follow}


def run_by_hand(plan: Plan, one: Any, stores: fti.Stores, instance: dg.DagsterInstance) -> None:
    """What the plan says has to be run."""
    by_name = {
        declaration.key.to_user_string(): declaration
        for declaration in vars(one).values()
        if hasattr(declaration, "key")
    }
    for asset in plan.assets:
        declaration = by_name.get(asset.asset)
        for key in sorted(asset.run):
            assert declaration is not None
            till.run(declaration, stores, None if key == "all" else key, instance=instance)


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The stores and Dagster's records of a system that has nothing more to do, and what its sensors remember."""
    home = tmp_path_factory.mktemp("settled")
    stores = stores_in(home)
    old = till.system(stored=stores)
    with dg.DagsterInstance.from_config(str(dagster_home(home / "dagster"))) as instance:
        till.run_all(old, stores, instance=instance)
        rehearsal = Rehearsal(old.defs, instance)
        rehearsal.settle(LATER)
    return home, rehearsal._cursors


@pytest.mark.parametrize(
    "change", [pytest.param(change, marks=[] if change in SHORTEST else pytest.mark.soak) for change in CHANGES]
)
def test_what_is_planned_is_what_is_run(change: str, settled: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    shutil.copytree(settled[0], tmp_path, dirs_exist_ok=True)
    stores = stores_in(tmp_path)
    new = till.system(**CHANGES[change], stored=stores)
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        keys = [*new.defs.resolve_asset_graph().get_all_asset_keys()]
        plan, after = plan_change(new.defs, stores), newest_event(instance, keys)
        rehearsal = Rehearsal(new.defs, instance, _cursors=dict(settled[1]))
        rehearsal.settle(LATEST)  # the new code is deployed
        assert made_since(instance, keys, after).keys() <= {one.asset for one in plan.assets if one.follow}
        run_by_hand(plan, new, stores, instance)
        rehearsal.settle(LATEST)
        made = made_since(instance, keys, after)
    assert recomputed(plan) == made, as_text(plan)
    assert bool(made) is (change not in ("nothing", "another column of a dataset"))
    again = plan_change(new.defs, stores)
    assert not again.recomputes, as_text(again)


def planned(stores: fti.Stores, **change: Any) -> Plan:
    return plan_change(till.system(**change).defs, stores)


def asset(plan: Plan, name: str) -> Any:
    return next(one for one in plan.assets if one.asset == name)


@pytest.fixture(scope="module")
def stores(settled: tuple[Path, dict[str, Any]]) -> fti.Stores:
    return stores_in(settled[0])


def test_rows_and_time_are_those_of_the_runs_before(stores: fti.Stores) -> None:
    plan = planned(stores, factor=2.0)
    busy = asset(plan, "busy_v1")
    with stores.offline_store().connect() as lake:
        ledger = lake.ledger(TableName("features", "busy_v1"))
        assert busy.estimate.rows == sum(one.rows for one in ledger.values())
        assert busy.estimate.seconds == pytest.approx(sum(json.loads(one.record)["seconds"] for one in ledger.values()))
    assert 0 < busy.estimate.seconds < 600
    new = asset(planned(stores, version=2, factor=2.0), "busy_v2")  # by the figures of version 1
    assert (new.estimate.rows, new.estimate.seconds) == (busy.estimate.rows, busy.estimate.seconds)
    model = asset(planned(stores, strength=0.1), "refund_model_v1")
    assert (model.estimate.rows, model.estimate.seconds > 0) == (264, True)


def test_what_was_made_before_and_champions_are_told(stores: fti.Stores) -> None:
    plan = planned(stores, factor=2.0)
    assert asset(plan, "refund_dataset_v1").outdated == (till.CUTOFF,)
    [champion] = plan.champions
    assert (champion.model, champion.tables, champion.refused) == ("refund_model", ("busy_v1",), "")
    assert planned(stores, strength=0.1).champions == []


def test_a_column_that_the_table_cannot_take_needs_a_version(stores: fti.Stores) -> None:
    plan = planned(stores, with_shop=True)
    assert asset(plan, "refund_dataset_v1").needs_version == "column shop is new"
    assert asset(plan, "refund_model_v1").why == "it waits for a new version of refund_dataset_v1"
    assert "needs a new version" in as_text(plan)
    for schema, problem in (
        (
            {"t": pa.Column("datetime64[us]"), "sale": pa.Column(str), "shop": pa.Column(str), "price": pa.Column(str)},
            "column price is stored as number and is now text",
        ),
        (
            {"t": pa.Column("datetime64[us]"), "sale": pa.Column(str), "till": pa.Column(str)},
            "column till is new and never null",
        ),
    ):

        @fti.feature_group(keys=["sale"], event_time="t", partitions_def=till.DAYS, schema=pa.DataFrameSchema(schema))
        def sales(context: dg.AssetExecutionContext) -> pd.DataFrame:
            return till.rows_of(context)

        plan = plan_change(fti.build_definitions([sales]), stores)
        assert problem in asset(plan, "sales_v1").needs_version
        assert asset(plan, "sales_v1").run == ()


def test_other_partitions_need_a_version(stores: fti.Stores) -> None:
    @fti.feature_group(keys=["sale"], event_time="t", partitions_def=dg.HourlyPartitionsDefinition("2025-01-01-00:00"))
    def sales(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return till.rows_of(context)

    assert (
        asset(plan_change(fti.build_definitions([sales]), stores), "sales_v1").needs_version
        == "it is stored in other partitions"
    )


def test_what_nobody_noted_is_told(stores: fti.Stores, tmp_path: Path) -> None:
    shutil.copytree(stores.offline_store().root, tmp_path / "lake")
    old = stores_in(tmp_path)
    table = TableName("features", "shops_v1")
    with old.offline_store().connect() as lake:  # as an earlier release left it
        lake.connection.execute(f"UPDATE {table.ledger_sql} SET record = '{{}}'")
    plan = planned(old)
    assert (asset(plan, "shops_v1").unknown, asset(plan, "shops_v1").run) == (("all",), ())
    assert "made by code that nobody noted, such as of an earlier release:\n  shops_v1 (group): all" in as_text(plan)


def test_other_code_of_an_on_demand_function_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "moments_of_till.py"
    source = (
        "import numpy as np\nimport fti_assets as fti\n\n\n@fti.on_demand(version=1, outputs={'hour': int})\n"
        "def moment(t: np.ndarray) -> dict[str, np.ndarray]:\n    return {'hour': t.astype('datetime64[h]').astype(int) % 24}\n"
    )
    module.write_text(source)
    stores = stores_in(tmp_path)
    old = till.system(moment=importlib.import_module("moments_of_till").moment)
    till.run_all(old, stores)
    assert not plan_change(old.defs, stores).recomputes
    module.write_text(source.replace("% 24", "% 12"))
    importlib.invalidate_caches()
    del sys.modules["moments_of_till"]
    plan = planned(stores, moment=importlib.import_module("moments_of_till").moment)
    dataset, model = asset(plan, "refund_dataset_v1"), asset(plan, "refund_model_v1")
    assert (dataset.run, dataset.why) == ((till.CUTOFF,), "the on-demand function 'moment' has changed")
    assert model.follow == (till.CUTOFF,)
    [champion] = plan.champions
    assert "moment" in champion.refused


def test_a_condition_of_ones_own_is_not_foreseen(stores: fti.Stores) -> None:
    one = till.system(raised=1.0)

    def busy_with(condition: Any) -> Any:
        @fti.feature_group(
            name="busy",
            keys=["shop"],
            event_time="hour",
            partitions_def=till.DAYS,
            lookback="2d",
            ins={"sales": one.sales},
            automation_condition=condition,
        )
        def busy(sales: fti.Table) -> pd.DataFrame:
            return sales.df()

        return asset(plan_change(fti.build_definitions([busy]), stores), "busy_v1")

    by_hand, eager = busy_with(None), busy_with(dg.AutomationCondition.eager())
    assert (len(by_hand.run), by_hand.follow) == (len(eager.run), eager.follow) == (10, ())


def test_from_the_command_line(
    stores: fti.Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(stores.offline_store().root.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "system.py").write_text(
        "import os\nfrom fti_assets.testing import stores_in\nfrom tests.environments import till\n"
        "defs = till.system(factor=float(os.environ['FACTOR']), stored=stores_in('.')).defs\n"
    )
    monkeypatch.setenv("FACTOR", "1")
    assert main(["plan", "-f", "system.py", "--fail-on", "changes"]) == 0
    assert "nothing is recomputed" in capsys.readouterr().out
    monkeypatch.setenv("FACTOR", "2")
    assert main(["plan", "-f", "system.py", "--fail-on", "version", "--fail-on", "refused", "--max-minutes", "10"]) == 0
    out = capsys.readouterr().out
    assert "busy_v1 (group): 10 partitions, 2025-01-03 to 2025-01-12, 80 rows" in out
    assert "dagster asset materialize -f system.py --select busy_v1 --partition-range 2025-01-03...2025-01-12" in out
    for arguments, problem in (
        (["--fail-on", "changes"], "changes"),
        (["--fail-on", "champion"], "champion"),
        (["--max-minutes", "0"], "more than 0 minutes"),
    ):
        assert main(["plan", "-f", "system.py", *arguments]) == 3
        assert f"fti: the plan has {problem}" in capsys.readouterr().err
    assert main(["plan", "-f", "system.py", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["rows"] == 80
    assert main(["plan", "-f", "system.py", "--against", "pr-1"]) == 1
    assert "has no environment 'pr-1'" in capsys.readouterr().err
    assert main(["plan", "-f", "system.py", "--lake", "nowhere"]) == 1
    assert main(["env", "create", "pr-1", "-f", "system.py"]) == 0
    till.run(till.system(factor=2.0).busy, stores_in(tmp_path).in_environment("pr-1"), ("2025-01-03", till.LAST))
    capsys.readouterr()
    assert main(["plan", "-f", "system.py", "--against", "pr-1", "--fail-on", "changes"]) == 0
    assert main(["plan", "-f", "system.py", "--fail-on", "changes"]) == 3
