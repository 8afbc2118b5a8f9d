"""Declarations to plain Dagster definitions."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.errors import DeclarationError
from fti_assets.stores.models.store import ModelStore
from tests.graphs import constant_graph
from tests.support.records import model_manifest, view_record


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FTI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@fti.feature_group(keys=["customer_id"])
def raw() -> pd.DataFrame:
    return pd.DataFrame({"customer_id": range(60), "age": range(60)})


@fti.feature_group(keys=["customer_id"])
def customers(raw: fti.Table) -> Any:
    return raw.relation.project("customer_id, age, age > 30 AS churned")


@fti.feature_group(name="plans", keys=["customer_id"])
def plans() -> pd.DataFrame:
    return pd.DataFrame({"customer_id": range(60), "price": 1.0})


@fti.feature_group(name="plans", version=2, keys=["customer_id"])
def new_plans() -> pd.DataFrame:
    return pd.DataFrame({"customer_id": range(60), "price": 2.0})


def view(features: Any, name: str = "churn") -> fti.FeatureView:
    return fti.FeatureView(name=name, spine=customers, label=fti.Label(customers["churned"]), features=features)


def declared(features: Any = (customers["age"], plans["price"]), **options: Any) -> tuple[Any, Any]:
    @fti.model(**{"name": "churn_model", "dataset": view(features), "task": "binary", **options})
    def train(data: fti.TrainingData) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression().fit(data.train.X, data.train.y)

    return train, fti.batch_predictions(name="churn_scores", model=train)


def keys(definitions: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}


def test_everything_that_a_declaration_rests_on_is_collected() -> None:
    model, scores = declared()
    everything = {"raw_v1", "customers_v1", "plans_v1", "churn_dataset_v1", "churn_model_v1", "churn_scores_v1"}
    assert keys(fti.build_definitions([scores])) == everything
    assert keys(fti.build_definitions([model])) == everything - {"churn_scores_v1"}
    assert keys(fti.build_definitions([model.dataset])) == everything - {"churn_scores_v1", "churn_model_v1"}
    assert keys(fti.build_definitions([customers])) == {"raw_v1", "customers_v1"}
    assert keys(fti.build_definitions([raw, customers, model, scores, plans])) == everything  # each once


def test_the_graph_has_the_edges_of_the_declarations() -> None:
    graph = fti.build_definitions([declared()[1]]).resolve_asset_graph()

    def parents(key: str) -> set[str]:
        return {parent.to_user_string() for parent in graph.get(dg.AssetKey(key)).parent_keys}

    assert parents("customers_v1") == {"raw_v1"}
    assert parents("churn_dataset_v1") == {"customers_v1", "plans_v1"}
    assert parents("churn_model_v1") == {"churn_dataset_v1"}
    assert parents("churn_scores_v1") == {"churn_model_v1", "customers_v1", "plans_v1"}


@pytest.mark.soak
def test_the_whole_system_materializes_under_the_home_without_resources(home: Path) -> None:
    definitions = fti.build_definitions([declared()[1]])
    with dg.DagsterInstance.ephemeral() as instance:
        assert definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success
    assert sorted(path.name for path in home.iterdir()) == ["lake", "models"]
    assert ModelStore(home / "models").champion("churn_model").dataset.point_in_time is False


def test_building_reads_and_writes_nothing(home: Path, tmp_path: Path) -> None:
    fti.build_definitions([declared()[1]])
    elsewhere = {"fti": fti.Stores(lake=str(tmp_path / "l"), models=str(tmp_path / "m"), online=str(tmp_path / "o"))}
    fti.build_definitions([declared()[1]], resources=elsewhere)
    assert list(tmp_path.iterdir()) == []


def test_stores_of_the_environment_are_left_for_the_run() -> None:
    fti.build_definitions([declared()[1]], resources={"fti": fti.Stores(models=dg.EnvVar("MODELS_FOLDER"))})


@pytest.mark.parametrize("others", [[raw], [customers]])
def test_two_groups_of_one_name_and_version_are_refused(others: list[Any]) -> None:
    @fti.feature_group(name=others[0].name, keys=["customer_id"])
    def twin() -> pd.DataFrame: ...

    with pytest.raises(
        DeclarationError, match=rf"two declarations are called '{others[0].table_name}'.*another name or version"
    ):
        fti.build_definitions([*others, twin])


def of_two_places(kind: str) -> list[Any]:
    """Two declarations that differ in their asset keys alone."""
    model = declared()[0]
    prefixes = ("one", "other")
    match kind:
        case "features":
            return [fti.feature_group(name="g", keys=["id"], key_prefix=p)(lambda: None) for p in prefixes]
        case "datasets":
            return [fti.training_dataset(name="d", view=model.view, key_prefix=p) for p in prefixes]
        case "models":
            return [declared(dataset=model.dataset, name="m", key_prefix=p)[0] for p in prefixes]
    return [fti.batch_predictions(name="p", model=model, key_prefix=p) for p in prefixes]


@pytest.mark.parametrize("kind", ["features", "datasets", "models", "predictions"])
def test_two_declarations_of_one_table_are_refused(kind: str) -> None:
    message = rf"two declarations are stored as '{kind}.(._v1)': 'one/\1' and 'other/\1'"
    with pytest.raises(DeclarationError, match=message):
        fti.build_definitions(of_two_places(kind))


def test_two_models_of_one_view_share_its_dataset() -> None:
    shared = view([customers["age"]])
    one, other = (declared(name=name, dataset=shared)[0] for name in ("one", "other"))
    assert keys(fti.build_definitions([one, other])) == {
        "raw_v1",
        "customers_v1",
        "churn_dataset_v1",
        "one_v1",
        "other_v1",
    }


def test_versions_of_one_group_are_declared_side_by_side() -> None:
    assert keys(fti.build_definitions([plans, new_plans])) == {"plans_v1", "plans_v2"}


def test_what_is_no_declaration_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"is not a declaration.*plain Dagster assets go into assets="):
        fti.build_definitions([view([customers["age"]])])  # type: ignore[list-item]


GRAPH = constant_graph()


def crown(models: Path, plans_version: int, spine_version: int = 1, **times: Any) -> str:
    """A champion that learned from that version of the plans."""
    joined = JoinedGroup(
        "plans",
        plans_version,
        (JoinedKey("customer_id", "customer_id", "integer"),),
        (JoinedColumn("price", "price", "number"),),
        **times,
    )
    keys = ("customer_id",)
    view = view_record("churn", spine="customers", spine_version=spine_version, keys=keys, joins=(joined,))
    manifest = model_manifest(GRAPH, model="churn_model", build="20130501T000000Z-0000000a", view=view)
    store = ModelStore(models)
    store.publish(manifest, GRAPH, "a card")
    store.promote("churn_model", manifest.reference, expected=None, reason="by hand")
    return manifest.reference


def test_champion_that_needs_version_not_declared_is_refused(home: Path) -> None:
    champion = crown(home / "models", plans_version=1)
    fti.build_definitions([declared()[0]])
    model = declared([customers["age"], new_plans["price"]])[0]
    with pytest.raises(
        DeclarationError,
        match=f"the champion {champion} of model 'churn_model' needs 'plans_v1', which is no longer declared: declare it",
    ):
        fti.build_definitions([model])
    fti.build_definitions([model, plans])  # the remedy of the error


def test_error_of_missing_version_is_path_to_go(home: Path) -> None:
    crown(home / "models", plans_version=1, event_time="t", serving_delay_us=15 * 60 * 10**6)
    model = declared([customers["age"]])[0]
    with pytest.raises(DeclarationError) as raised:
        fti.build_definitions([model])
    _, decorator, function, call = str(raised.value).splitlines()
    assert (
        decorator == '    @fti.feature_group(name="plans", keys=["customer_id"], event_time="t", serving_delay="15min")'
    )
    assert function.startswith("    def plans_v1(...): ...")
    assert call == "    fti.build_definitions([churn_model, plans_v1])"
    names: dict[str, Any] = {"fti": fti, "churn_model": model}
    exec(f"{decorator.strip()}\ndef plans_v1() -> None: ...\n{call.strip()}", names)  # it works as it stands


def test_spine_that_gets_event_time_is_new_version(home: Path) -> None:
    crown(home / "models", plans_version=1)
    timed = fti.feature_group(name="customers", keys=["customer_id"], event_time="joined")(lambda: None)
    view = fti.FeatureView(name="churn", spine=timed, label=fti.Label(timed["churned"]), features=[timed["age"]])
    model = declared(dataset=view)[0]
    with pytest.raises(
        DeclarationError,
        match=r"customers_v1 has changed its meaning under one version: event_time was None and is 'joined'.*version=2",
    ):
        fti.build_definitions([model, plans])


def test_champion_whose_spine_is_not_declared_is_refused(home: Path) -> None:
    crown(home / "models", plans_version=1, spine_version=3)
    with pytest.raises(DeclarationError, match="needs 'customers_v3', which is no longer declared"):
        fti.build_definitions([declared()[0]])


def test_definitions_merge_with_plain_dagster_assets() -> None:
    @dg.asset(deps=[raw.key])
    def report() -> None: ...

    @dg.asset
    def numbers() -> None: ...

    merged = dg.Definitions.merge(
        fti.build_definitions([customers], assets=[report]), dg.Definitions(assets=[numbers], resources={"other": 1})
    )
    assert keys(merged) == {"raw_v1", "customers_v1", "report", "numbers"}
    assert set(merged.resources or {}) == {"fti", "other"}
    parents = merged.resolve_asset_graph().get(dg.AssetKey("report")).parent_keys
    assert parents == {dg.AssetKey("raw_v1")}


def test_systems_merge_and_so_do_those_with_another_executor() -> None:
    both = dg.Definitions.merge(fti.build_definitions([customers]), fti.build_definitions([plans]))
    assert keys(both) == {"raw_v1", "customers_v1", "plans_v1"}
    theirs = dg.Definitions(executor=dg.multiprocess_executor)
    merged = dg.Definitions.merge(fti.build_definitions([customers], executor=None), theirs)
    assert merged.executor is dg.multiprocess_executor


def test_what_else_definitions_take_is_passed_on() -> None:
    job = dg.define_asset_job("features", selection=["raw_v1"])
    definitions = fti.build_definitions([customers], jobs=[job])
    assert definitions.resolve_job_def("features").name == "features"


IMPOSSIBLE: list[tuple[Any, str]] = [
    (
        lambda: declared(task="sorting"),
        "has the task 'sorting': it is 'binary', 'multiclass', 'multilabel', 'regression', 'quantile' or 'ranking'",
    ),
    (lambda: declared(promote="never"), "has promote='never'"),
    (lambda: declared(version=0), "model 'churn_model': version is 0"),
    (lambda: declared(name="Churn"), "model 'Churn' is not a name"),
    (lambda: declared(gates=[fti.BeatsBaseline("rmse")]), "'rmse' is not one for a binary model"),
    (
        lambda: declared(gates=[fti.BeatsBaseline("brier")], evaluate=fti.Evaluation(metrics=["roc_auc"])),
        "has gates on 'brier', but evaluates 'roc_auc'",
    ),
    (lambda: declared(gates=[fti.BeatsBaseline("brier")] * 2), "the same gate twice"),
    (
        lambda: declared(evaluate=fti.Evaluation(metrics=["roc_auc"], slices=["plan"])),
        "is sliced by 'plan', which its view 'churn' does not have",
    ),
    (
        lambda: declared(partitions_def=dg.DailyPartitionsDefinition("2013-01-01")),
        "has other partitions than its dataset churn_dataset_v1",
    ),
    (lambda: fti.model(dataset=view([customers["age"]]), task="binary")(lambda rows: None), "not a name"),
    (
        lambda: fti.training_dataset(
            name="d", view=view([customers["age"]]), split=fti.TimeSplit(validation="1d", test="1d")
        ),
        "the spine customers_v1 has no event time, so rows cannot be split or windowed by time",
    ),
    (lambda: fti.training_dataset(name="d", view=view([customers["age"]]), window="1d"), "windowed by time"),
    (lambda: fti.training_dataset(name="d", view=view([customers["age"]]), version=0), "version is 0"),
    (
        lambda: fti.training_dataset(
            name="d", view=view([customers["age"]]), partitions_def=dg.StaticPartitionsDefinition(["a"])
        ),
        "its partitions are cutoffs, so partitions_def must be time windows",
    ),
    (
        lambda: fti.training_dataset(name="d", view=view([customers["split"]])),
        "the column 'split' is the dataset's own",
    ),
]


@pytest.mark.parametrize(("declare", "message"), IMPOSSIBLE, ids=range(len(IMPOSSIBLE)))
def test_impossible_dataset_or_model_is_refused_when_code_loads(declare: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declare()


def test_a_model_function_needs_one_parameter_for_its_data() -> None:
    with pytest.raises(DeclarationError, match="needs one parameter for its training data.*it has 'rows'"):

        @fti.model(dataset=view([customers["age"]]), task="binary")
        def untyped(rows):  # type: ignore[no-untyped-def]
            ...


def test_a_timed_view_is_split_by_time() -> None:
    @fti.feature_group(keys=["id"], event_time="t")
    def visits() -> pd.DataFrame: ...

    timed = fti.FeatureView(name="timed", spine=visits, label=fti.Label(visits["y"]), features=[visits["x"]])
    assert fti.training_dataset(name="d", view=timed).split == fti.TimeSplit(validation=0.2, test=0.2)
    with pytest.raises(DeclarationError, match="a random split would let the model see the future"):
        fti.training_dataset(name="d", view=timed, split=fti.RandomSplit())


def test_calling_a_model_calls_its_function() -> None:
    @fti.model(dataset=view([customers["age"]]), task="binary")
    def echo(data: fti.TrainingData) -> Any:
        return data

    assert echo("rows") == "rows"


SERVED: dict[str, Any] = {"keys": ["customer_id"], "event_time": "t", "serving_delay": "15min"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"serving_delay": "6h"}, r"serving_delay \(us\) was 900000000 and is 21600000000, but the champion"),
        ({"keys": ["plan_id"]}, r"keys was \('customer_id',\) and is \('plan_id',\)"),
        ({"keys": ["plan_id", "customer_id"]}, r"keys was \('customer_id',\) and is \('plan_id', 'customer_id'\)"),
        ({"event_time": "u"}, "event_time was 't' and is 'u'"),
        ({"serving_delay": None, "available_at": "a"}, "available_at was None and is 'a'; serving_delay"),
        ({"tie_break": "n"}, "tie_break was None and is 'n'"),
    ],
)
def test_served_group_that_changes_its_meaning_under_one_version_is_refused(
    home: Path, changed: dict[str, Any], message: str
) -> None:
    crown(home / "models", plans_version=1, event_time="t", serving_delay_us=15 * 60 * 10**6)
    model = declared([customers["age"]])[0]

    def plans_of(**options: Any) -> fti.FeatureGroup:
        return fti.feature_group(name="plans", **{**SERVED, **options})(lambda: None)

    fti.build_definitions([model, plans_of()])
    with pytest.raises(DeclarationError, match=f"plans_v1 has changed its meaning.*{message}.*declare it as version 2"):
        fti.build_definitions([model, plans_of(**changed)])
    fti.build_definitions([model, plans_of(), plans_of(**changed, version=2)])  # the remedy of the error


def test_a_lost_champion_warns_and_definitions_load(home: Path) -> None:
    champion = crown(home / "models", plans_version=1)
    shutil.rmtree(home / "models" / "churn_model" / champion)
    with pytest.warns(UserWarning, match="the champion of model 'churn_model' is lost: .*fti promote"):
        assert "churn_model_v1" in keys(fti.build_definitions([declared()[0]]))
    ModelStore(home / "models").aliases_file("churn_model").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fti.build_definitions([declared()[0]])
