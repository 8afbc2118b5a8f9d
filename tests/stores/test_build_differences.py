"""Whatever a manifest says is among the differences of two builds, or stands here with the reason why not."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from fti_assets.core.manifest import (
    BootstrapRecord,
    CalibrationRecord,
    Column,
    ColumnRule,
    CompositeRecord,
    DatasetRecord,
    FairnessRecord,
    FeatureImportance,
    GateVerdict,
    GraphComparison,
    GraphInput,
    GraphOutput,
    GroupRates,
    ImportanceRecord,
    Interval,
    JoinedColumn,
    JoinedGroup,
    JoinedKey,
    MemberRecord,
    ModelManifest,
    OnDemandCall,
    RandomParts,
    RequestWindows,
    SampleRecord,
    SpineTimes,
    ThresholdRecord,
    TuningRecord,
    WindowAggregate,
    WindowLength,
)
from fti_assets.stores.models.builds.differences import differences, lines_of
from tests.support.records import model_manifest, view_record

WHY_NOT = {
    "model": "two builds of one model are compared",
    "version": "the first line names both builds",
    "build": "the first line names both builds",
    "created_at": "no two builds are made at once",
    "run_id": "no two builds have one",
    "seconds": "how long it took changes no answer",
    "format": "of the file",
    "files": "hashes of pages and of what is in the manifest",
    "slices": "as many figures as there are values: the card has them",
    "slice_intervals": "as slices",
    "importance": "explains answers and makes none: the card has it",
    "comparison": "a check of the export, but for the class of the model",
    "calibration.largest_difference": "a check of the export",
    "fairness": "the card has the rates of each slice",
    "gates": "the reason has the figures",
    "tuning": "how the search went is in tuning.json",
    "view.joins.columns.type": "the feature has it",
    "view.joins.keys.type": "that of the group's contract, whose version is told",
    "view.on_demand": "the hash of what the function means has it",
    "composite.members": "the build of the member fixes it",
    "composite.function": "the hash of what the function means has it",
    "inputs.features": "the features and their encoders decide it",
}
TOLD_NEVERTHELESS = {
    "comparison.model", "fairness.figures", "gates.gate", "gates.passed", "gates.reason", "tuning.metric", "tuning.value",
    "tuning.parameters", "tuning.trials", "tuning.seed", "view.on_demand.name", "view.on_demand.version", "view.on_demand.module",
    "view.on_demand.function", "view.on_demand.meaning", "composite.members.model", "composite.members.build",
    "composite.function.name", "composite.function.version", "composite.function.meaning",
    "composite.function.module", "composite.function.function", "view.on_demand.outputs.name",
}  # fmt: skip

CALL = OnDemandCall("calendar", 1, "app", "calendar", "a" * 64, ("at",), (Column("hour", "integer"),), meaning="b" * 64)
WINDOWS = RequestWindows("clicks", 1, 60, (WindowLength("1h", 3600),), (WindowAggregate("n", "count"),))
WHOLE = model_manifest(
    b"",
    view=view_record(
        keys=("id",),
        prediction_time="at",
        request=(Column("at", "timestamp"),),
        joins=(
            JoinedGroup(
                "clicks", 1, (JoinedKey("id", "key", "text"),), (JoinedColumn("n", "n_1h", "number"),), "ts", "ready", 7, 9, "seq", "s3",
                WINDOWS,
            ),
        ),
        on_demand=(CALL,),
        features=(Column("n", "number"), Column("hour", "integer")),
        rules=(ColumnRule("at", "greater_than", {"min_value": 1}, "float64"),),
        rules_left_out=("a check of rows",),
        spine_times=SpineTimes("seen", 5, "seq"),
    ),
    dataset=DatasetRecord(
        "d", 1, "2013-05-01", "h", {"train": 9}, True, "2013-04-01", RandomParts("md5", 1, 0.2, 0.1, ("id",)), {"features.clicks_v1": "w"},
        "amount > 0", SampleRecord("md5", 1, {"0": 0.5}, {"0": 8}, {"0": 4}), ("q",), "w",
    ),
    inputs=(GraphInput("numbers", "float32", ("n", "hour"), 2),),
    outputs=(GraphOutput("probability", "float32"),),
    encoders={"n": {"kind": "standardize", "mean": 1.5}},
    metrics={"roc_auc": 0.75},
    baseline={"roc_auc": 0.5},
    baselines={"linear": {"roc_auc": 0.6}},
    gates=(GateVerdict("beats", True, "better", 0.1, 0.2, Interval(0.1, 0.2)),),
    packages={"numpy": "2.3"},
    classes=("no",),
    slices={"origin": {"JFK": {"roc_auc": 0.7}}},
    asset_key=("m",),
    files={"card.md": "c"},
    warnings=("a leak",),
    latency_goal=0.1,
    composite=CompositeRecord((MemberRecord("one", "v1/b", "binary", "s", ("a",)),), {"field": "one"}, replace(CALL, name="blend")),
    comparison=GraphComparison("Ridge", 1, 0.1, 1, 0.1, 1),
    importance=ImportanceRecord("roc_auc", 0.5, 1, 1, {"n": FeatureImportance(0.1, 0.1)}, {"n": FeatureImportance(0.1, 0.1)}),
    threshold=ThresholdRecord(0.25, "f1", 5),
    thresholds={"late": ThresholdRecord(0.25, "f1", 5)},
    fairness={"origin": FairnessRecord({"JFK": GroupRates(1, 0.5)}, {"demographic_parity_ratio": 0.5})},
    calibration=CalibrationRecord("platt", 5, {"ece": 0.25}, {"ece": 0.125}, 0.0),
    description="what", intended_use="for", limits=("none",),
    tuning=TuningRecord("roc_auc", 0.5, {"depth": 3}, 1, 2, 0, 0, 1),
    intervals={"roc_auc": Interval(0.5, 0.75)}, slice_intervals={"origin": {"JFK": {"roc_auc": Interval(0.5, 0.75)}}},
    bootstrap=BootstrapRecord(1000, 1, "id"), seed=0, trained_because="drift", seconds=1.0,
)  # fmt: skip


def changes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each value with one leaf changed, and the path of the fields that lead there."""
    if is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            for where, changed in changes(getattr(value, one.name), f"{path}.{one.name}".lstrip(".")):
                yield where, replace(value, **{one.name: changed})
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from ((where, value | {name: changed}) for where, changed in changes(one, path))
    elif isinstance(value, tuple):
        for at, one in enumerate(value):
            yield from ((where, (*value[:at], changed, *value[at + 1 :])) for where, changed in changes(one, path))
    elif isinstance(value, bool):
        yield path, not value
    elif isinstance(value, str):
        yield path, {"binary": "regression"}.get(value, f"other {value}")
    elif value is not None:
        yield path, value + (1 if isinstance(value, int) else 0.125)


def reason_of(path: str) -> str | None:
    if path in TOLD_NEVERTHELESS:
        return None
    return next((WHY_NOT[one] for one in WHY_NOT if f"{path}.".startswith(f"{one}.")), None)


CHANGED = list(changes(WHOLE))


def test_each_field_of_a_manifest_is_told_or_has_a_reason() -> None:
    untold = {path for path, changed in CHANGED if not differences(WHOLE, changed) and reason_of(path) is None}
    assert untold == set()
    told = {path for path, changed in CHANGED if differences(WHOLE, changed)}
    assert {path for path in told if reason_of(path)} == set()
    assert {path.partition(".")[0] for path, _ in CHANGED} == {one.name for one in fields(ModelManifest)}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"threshold": ThresholdRecord(0.2457, "f1", 5)}, "threshold: 0.25 -> 0.2457 (-0.0043)"),
        (
            {"calibration": CalibrationRecord("platt", 5, {"ece": 0.25}, {"ece": 0.25}, 0.0)},
            "ece after calibration: 0.125 -> 0.25 (+0.125)",
        ),
        (
            {"calibration": CalibrationRecord("isotonic", 5, {"ece": 0.25}, {"ece": 0.125}, 0.0)},
            "calibration: platt, on 5 rows -> isotonic, on 5 rows",
        ),
        ({"intervals": {"roc_auc": Interval(0.5, 0.8)}}, "roc_auc interval: 95% interval 0.5 to 0.75 -> 95% interval 0.5 to 0.8"),
    ],
)  # fmt: skip
def test_what_decides_is_told(changed: dict[str, Any], text: str) -> None:
    assert [(one.section, str(one)) for one in differences(WHOLE, replace(WHOLE, **changed))] == [("decisions", text)]


def test_encoders_that_change_alike_share_a_line():
    names = [f"n{number}" for number in range(7)]
    before, after = (
        replace(WHOLE, encoders={name: {"kind": kind} | more for name in names} | {"other": {"kind": "onehot"} | last})
        for kind, more, last in (
            ("passthrough", {}, {"categories": ["a"]}),
            ("standardize", {"mean": 1.5}, {"categories": ["a", "b"]}),
        )
    )
    assert lines_of([one for one in differences(before, after) if one.section == "encoders"]) == [
        "n0, n1, n2, n3, n4 and 2 more.kind: passthrough -> standardize",
        "other.categories: added 'b'",
    ]
    assert len(differences(before, after)) == 15
