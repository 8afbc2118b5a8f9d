import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest

from fti_assets.core import manifest as records
from fti_assets.core.manifest import (
    NUMBERS,
    BootstrapRecord,
    Column,
    DatasetRecord,
    FairnessRecord,
    GateVerdict,
    GraphInput,
    GraphOutput,
    GroupRates,
    Interval,
    JoinedColumn,
    JoinedGroup,
    JoinedKey,
    ModelManifest,
    OnDemandCall,
    ThresholdRecord,
    ViewRecord,
)
from fti_assets.core.records import from_json, to_json

SCHEMA = json.loads(Path(records.__file__).with_name("manifest.schema.json").read_text())

WEATHER = JoinedGroup(
    "weather",
    2,
    (JoinedKey("origin", "airport", "text"),),
    (JoinedColumn("temp", "temp_f", "number"),),
    event_time="observed_at",
    serving_delay_us=1,
    ttl_us=2,
)
CALENDAR = OnDemandCall(
    "calendar", 1, "app.on_demand", "calendar", "a" * 64, ("scheduled_at",), (Column("hour_of_day", "integer"),)
)
FEATURES = (Column("temp", "number"), Column("origin", "text"), Column("hour_of_day", "integer"))
VIEW = ViewRecord(
    "arrival_delay",
    1,
    "schedule",
    3,
    ("flight_id",),
    "predict_at",
    (Column("flight_id", "integer"), Column("origin", "text"), Column("scheduled_at", "timestamp")),
    (WEATHER,),
    (CALENDAR,),
    FEATURES,
)
MANIFEST = ModelManifest(
    model="delay_net",
    version=1,
    build="20130501T000000Z-1f9ac3d2",
    task="binary",
    status="rejected",
    cutoff="2013-05-01T00:00:00",
    created_at="2013-05-02T00:00:00",
    view=VIEW,
    dataset=DatasetRecord("delays", 1, "2013-05-01", "v1", {"train": 100, "test": 20}, point_in_time=True),
    inputs=(GraphInput(NUMBERS, "float32", ("temp", "hour_of_day")), GraphInput("text.origin", "string", ("origin",))),
    outputs=(GraphOutput("probability", "float32"),),
    encoders={"temp": {"kind": "standardize", "mean": 1.5}},
    metrics={"log_loss": 0.5},
    baseline={"log_loss": 0.6},
    gates=(GateVerdict("beats_baseline", False, "0.61 is not below 0.6"),),
    snapshot=7,
    code_version="c1",
    packages={"numpy": "2.4"},
    sha256="0" * 64,
    slices={"origin": {"JFK": {"log_loss": 0.4}}},
    asset_key=("flights", "delay_net_v1"),
    files={"pictures.html": "a" * 64},
    threshold=ThresholdRecord(0.31, "f1", 20),
    intervals={"log_loss": Interval(0.4, 0.6)},
    slice_intervals={"origin": {"JFK": {"log_loss": Interval(0.3, 0.7, 0.9)}}},
    bootstrap=BootstrapRecord(1_000, 0, "flight_id"),
    fairness={
        "origin": FairnessRecord(
            {"JFK": GroupRates(20, 0.5, 0.6)}, {"demographic_parity_difference": 0.0}, 3, 1, {"": 3}, 9
        )
    },
)


def test_a_manifest_comes_back_from_json_as_it_was():
    assert from_json(ModelManifest, to_json(MANIFEST), what="manifest") == MANIFEST


def test_references_and_tables_are_named_with_their_versions():
    assert MANIFEST.reference == "v1/20130501T000000Z-1f9ac3d2"
    assert WEATHER.table_name == "weather_v2"


def test_a_written_manifest_fits_the_published_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(to_json(MANIFEST)), SCHEMA)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("task",), "clustering"),
        (("sha256",), "short"),
        (("build",), "../elsewhere"),
        (("snapshot",), "7"),
        (("view", "joins", 0, "keys", 0, "type"), "uuid"),
        (("view", "colour"), "red"),
        (("gates", 0, "passed"), None),
        (("format",), 2),
    ],
)
def test_a_broken_manifest_does_not_fit_the_schema(path, value):
    broken = json.loads(to_json(MANIFEST))
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


@pytest.mark.soak
@pytest.mark.parametrize("field", SCHEMA["required"])
def test_manifest_without_required_field_does_not_fit_schema(field):
    broken = json.loads(to_json(MANIFEST))
    del broken[field]
    with pytest.raises(jsonschema.ValidationError, match=f"'{field}' is a required property"):
        jsonschema.validate(broken, SCHEMA)


@pytest.mark.parametrize("name", ["ModelManifest", *SCHEMA["$defs"]])
def test_the_schema_has_the_fields_of_the_record(name):
    described = SCHEMA if name == "ModelManifest" else SCHEMA["$defs"][name]
    fields = dataclasses.fields(getattr(records, name))
    assert list(described["properties"]) == [field.name for field in fields]
    assert described["required"] == [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
