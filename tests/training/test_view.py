"""Feature views and labels: what is refused when the code loads, and what a manifest records."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.core.manifest import Column, JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.times import duration, microseconds
from fti_assets.errors import DeclarationError
from fti_assets.training.encoders.declarations import check_encoders
from tests.on_demand import (
    boarding,
    boards_late,
    brood,
    chicken,
    doubled_wait,
    egg,
    lead,
    renamed_key,
    waiting,
)
from tests.support.unshippable import unshippable


def schema(**columns: Any) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({name: pa.Column(kind, nullable=True) for name, kind in columns.items()})


@fti.feature_group(
    keys=["flight_id"],
    event_time="predict_at",
    schema=schema(
        flight_id=int,
        predict_at="datetime64[ns]",
        origin=str,
        dest=str,
        carrier=str,
        distance=float,
        seat=int,
        gate=str,
    ),
)
def schedule() -> pd.DataFrame: ...


@fti.feature_group(
    keys=["flight_id"],
    event_time="landed_at",
    available_at="known_at",
    schema=schema(
        flight_id=int, landed_at="datetime64[ns]", known_at="datetime64[ns]", is_late=bool, delay=float, distance=float
    ),
)
def arrivals() -> pd.DataFrame: ...


@fti.feature_group(
    version=2,
    keys=["origin"],
    event_time="observed_at",
    serving_delay="15min",
    ttl="6h",
    schema=schema(origin=str, observed_at="datetime64[ns]", temp=float, sky=str),
)
def weather() -> pd.DataFrame: ...


@fti.feature_group(
    keys=["airport"],
    event_time="hour",
    schema=schema(airport=str, hour="datetime64[ns]", late_rate=float, seen_at="datetime64[ns]"),
)
def airports() -> pd.DataFrame: ...


@fti.feature_group(keys=["seat"], schema=schema(seat=str, price=float))
def seats() -> pd.DataFrame: ...


@fti.feature_group(keys=["flight"], event_time="e", schema=schema(flight=int, e="datetime64[ns]", was_full=bool))
def loads() -> pd.DataFrame: ...


@fti.feature_group(keys=["flight_id"], schema=schema(flight_id=int, age=float, churned=bool))
def untimed() -> pd.DataFrame: ...


@fti.feature_group(keys=["flight_id"], schema=schema(flight_id=int, was_late=bool, minutes=float))
def verdicts() -> pd.DataFrame: ...


@fti.feature_group(keys=["flight_id"], event_time="t")
def undeclared() -> pd.DataFrame: ...


LATE = fti.Label(arrivals["is_late"], maturity="36h")


def view(**changed: Any) -> fti.FeatureView:
    declared: dict[str, Any] = {
        "name": "arrival_delay",
        "spine": schedule,
        "label": LATE,
        "features": [schedule["distance"], weather["temp"]],
    }
    return fti.FeatureView(**(declared | changed))


def test_a_sound_view_is_declared() -> None:
    assert view(prediction_time="predict_at").feature_names == ["distance", "temp"]


IMPOSSIBLE: dict[str, tuple[Callable[[], Any], str]] = {
    "a name that is none": (lambda: view(name="Arrival Delay"), "feature view 'Arrival Delay' is not a name"),
    "a version that is none": (lambda: view(version=0), "version is 0"),
    "no features": (lambda: view(features=[]), "has no features"),
    "a feature that is none": (lambda: view(features=["temp"]), "'temp' is not a feature"),
    "an unknown column": (lambda: view(features=[weather["tmp"]]), "weather_v2 has no column 'tmp'.*'temp'"),
    "a prediction time that is not the spine's event time": (
        lambda: view(prediction_time="origin"),
        "predicts at 'origin'.*the event time of its spine schedule_v1 is 'predict_at'",
    ),
    "a key that the spine does not have": (
        lambda: view(features=[airports["late_rate"]]),
        r"cannot join airports_v1 on 'airport'.*airports.on\(",
    ),
    "a key that is named after no column of the spine": (
        lambda: view(features=[airports.on(dst="airport")["late_rate"]]),
        "cannot join airports_v1 on 'dst'",
    ),
    "a join on what is not a key": (lambda: airports.on(dest="late_rate"), "has no key 'late_rate'"),
    "keys of different types": (lambda: view(features=[seats["price"]]), "'seat' of schedule_v1 is integer.*is text"),
    "one feature name twice": (
        lambda: view(features=[schedule["distance"], arrivals["distance"]]),
        "has 'distance' twice",
    ),
    "a feature that is called like the spine's key": (
        lambda: view(features=[schedule["distance"], renamed_key]),
        "'flight_id', and so is a key",
    ),
    "the spine joined to itself": (
        lambda: view(features=[schedule.prefix("own_")["distance"]]),
        "its spine.*to itself",
    ),
    "all columns of a group without a schema": (lambda: view(features=[undeclared]), "takes all of undeclared_v1"),
    "the label among the features": (lambda: view(features=[arrivals["is_late"]]), "its label 'is_late' among"),
    "the label's column as a prefixed feature of a lookup": (
        lambda: view(label=fti.Label(verdicts["was_late"]), features=[verdicts.prefix("past_")["was_late"]]),
        "its label 'was_late' among its features: verdicts_v1 has no event time",
    ),
    "the label's column among all of a lookup's, prefixed": (
        lambda: view(
            spine=untimed,
            label=fti.Label(verdicts["was_late"]),
            features=[untimed["age"], verdicts.prefix("past_")],
        ),
        "its label 'was_late' among its features: verdicts_v1 has no event time",
    ),
    "the spine's own label for an on-demand feature": (
        lambda: view(label=fti.Label(schedule["gate"]), features=[waiting]),
        "gives its label 'gate' to the on-demand feature 'waiting'",
    ),
    "a label that is the spine's key": (
        lambda: view(label=fti.Label(schedule["flight_id"])),
        "label 'flight_id', which",
    ),
    "a label that is a time": (lambda: view(label=fti.Label(arrivals["landed_at"])), "is a timestamp"),
    "an encoder for what is no feature": (
        lambda: view(encoders={"tmp": fti.Standardize()}),
        "encoders for 'tmp': its features are 'distance' or 'temp'",
    ),
    "an encoder that does not fit": (lambda: view(encoders={"temp": fti.OneHot()}), "OneHot does not fit 'temp'"),
    "an encoder that does not fit an on-demand feature": (
        lambda: view(features=[waiting], encoders={"wait": fti.Embedding()}),
        "Embedding does not fit 'wait'",
    ),
    "text without an encoder": (lambda: view(features=[weather["sky"]]), "'sky' is text and has no encoder"),
    "text without an encoder beside a group without a schema": (
        lambda: view(features=[weather["sky"], undeclared["x"]]),
        "'sky' is text and has no encoder",
    ),
    "a timestamp as a feature": (
        lambda: view(features=[airports.on(dest="airport")["seen_at"]]),
        "'seen_at' is a timestamp",
    ),
    "an on-demand input that is nowhere": (
        lambda: view(features=[schedule["distance"], waiting, doubled_wait]),
        "'doubled_wait'.*takes 'temp', which is neither",
    ),
    "on-demand features that wait for each other": (
        lambda: view(features=[schedule["distance"], chicken, egg, brood]),
        "view 'arrival_delay': on-demand feature 'chicken' takes 'eggs' of 'egg'; on-demand feature 'egg' takes 'hens' of "
        "'chicken'",
    ),
    "a time that no other on-demand feature takes": (
        lambda: view(features=[boarding]),
        "'boarding' of view 'arrival_delay' makes 'boards_at', a time that no other",
    ),
    "a time that is called like a feature": (
        lambda: view(
            features=[airports.on(dest="airport").prefix("boards_")["late_rate"], boarding, lead, boards_late]
        ),
        "has 'boards_late_rate' twice",
    ),
    "an on-demand feature whose module no app can import": (
        lambda: view(features=[unshippable]),
        "on-demand feature 'unshippable': line .* of module 'tests.support.unshippable' says 'import pandas as pd', which takes 'pandas', "
        "which an app does not have; .*a module of its own",
    ),
    "a group with times for a spine without": (
        lambda: view(
            spine=untimed, label=fti.Label(untimed["churned"]), features=[loads.on(flight_id="flight")["was_full"]]
        ),
        "joins loads_v1, which has an event time",
    ),
    "a maturity for a spine without times": (
        lambda: view(spine=untimed, label=fti.Label(untimed["churned"], maturity="1d"), features=[untimed["age"]]),
        "has a maturity, but its spine untimed_v1 has no event time",
    ),
    "a horizon for a spine without times": (
        lambda: view(spine=untimed, label=fti.Label(loads["was_full"], within="1d"), features=[untimed["age"]]),
        "within=, which needs event times on both sides",
    ),
    "a label by other keys than the spine's": (
        lambda: view(label=fti.Label(weather["temp"]), features=[schedule["distance"]]),
        "by the keys 'origin', but the spine schedule_v1 has the keys 'flight_id'",
    ),
    "a label by a spine column that is not its key": (
        lambda: view(label=fti.Label(arrivals.on(seat="flight_id")["is_late"])),
        "by the keys 'seat'",
    ),
    "a horizon for a label without times": (
        lambda: view(label=fti.Label(seats["price"], within="1d")),
        "within=, which needs event times",
    ),
    "a first outcome by a column that the spine does not have": (
        lambda: view(label=fti.Label(airports["late_rate"], within="1d")),
        "cannot join airports_v1 on 'airport'",
    ),
    "a label of two columns": (lambda: fti.Label(arrivals["is_late", "delay"]), "a label is one column"),
    "a label that is a whole group": (lambda: fti.Label(arrivals), "a label is one column"),  # type: ignore[arg-type]
    "a maturity that is no duration": (
        lambda: fti.Label(arrivals["is_late"], maturity="soon"),
        "'soon' is not a duration",
    ),
    "a horizon that is no duration": (
        lambda: fti.Label(arrivals["is_late"], within="soon"),
        "'soon' is not a duration",
    ),
    "a maturity shorter than the horizon": (
        lambda: fti.Label(arrivals["is_late"], maturity="1d", within="2d"),
        "maturity of 1 day.*outcomes within 2 days",
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_is_refused_when_the_code_loads(case: str) -> None:
    declare, message = IMPOSSIBLE[case]
    with pytest.raises(DeclarationError, match=f"(?s){message}"):
        declare()


def test_a_label_by_keys_of_another_type_is_refused() -> None:
    @fti.feature_group(keys=["flight_id"], schema=schema(flight_id=str, is_late=bool))
    def outcomes() -> pd.DataFrame: ...

    with pytest.raises(
        DeclarationError, match="'flight_id' of schedule_v1 is integer and 'flight_id' of outcomes_v1 is text"
    ):
        view(label=fti.Label(outcomes["is_late"]))


def test_open_column_type_comes_from_the_stored_table() -> None:
    @fti.feature_group(keys=["flight_id"], schema=pa.DataFrameSchema({"flight_id": pa.Column(int), "x": pa.Column()}))
    def open_group() -> pd.DataFrame: ...

    declared = view(features=[open_group["x"]])
    stored = {open_group: {"flight_id": "integer", "x": "number"}}
    record = declared.record(lambda group: stored.get(group, group.columns or {}))  # type: ignore[arg-type,return-value]
    assert record.features == (Column("x", "number"),)
    with pytest.raises(
        DeclarationError, match="needs the column 'x' of open_group_v1, which has a type that no feature"
    ):
        declared.record(lambda group: group.columns or {})


def test_view_without_schemas_is_checked_against_what_is_stored() -> None:
    declared = view(features=[undeclared["x"]])
    stored: dict[Any, Any] = {undeclared: {"flight_id": "text", "t": "timestamp", "x": "number"}}
    with pytest.raises(
        DeclarationError, match="'flight_id' of schedule_v1 is integer and 'flight_id' of undeclared_v1 is text"
    ):
        declared.record(lambda group: stored.get(group, group.columns))
    stored[undeclared] = {"flight_id": "integer", "t": "timestamp"}
    with pytest.raises(
        DeclarationError, match="needs the column 'x' of undeclared_v1, which has only 'flight_id' or 't'"
    ):
        declared.record(lambda group: stored.get(group, group.columns))


def test_record_holds_request_joins_and_features_in_order() -> None:
    declared = view(
        features=[
            weather["temp"],
            schedule["carrier", "distance"],
            airports.on(dest="airport").prefix("dest_")["late_rate"],
            airports.on(origin="airport").prefix("origin_")["late_rate"],
            waiting,
            doubled_wait,
        ],
        encoders={"carrier": fti.OneHot()},
    )
    record = declared.record(lambda group: group.columns or {})
    assert record.request == (
        Column("flight_id", "integer"),  # the key,
        Column("carrier", "text"),  # the spine's own features,
        Column("distance", "number"),
        Column("origin", "text"),  # the joins' keys
        Column("dest", "text"),
        Column("gate", "text"),  # and what on-demand functions take; the prediction time is predict's `at`
    )
    assert (record.spine, record.spine_version, record.spine_keys) == ("schedule", 1, ("flight_id",))
    assert record.prediction_time == "predict_at"
    late_rate = "late_rate"
    assert record.joins == (
        JoinedGroup(
            "weather",
            2,
            (JoinedKey("origin", "origin", "text"),),
            (JoinedColumn("temp", "temp", "number"),),
            event_time="observed_at",
            serving_delay_us=microseconds(duration("15min")),
            ttl_us=microseconds(duration("6h")),
        ),
        JoinedGroup(
            "airports",
            1,
            (JoinedKey("dest", "airport", "text"),),
            (JoinedColumn("dest_late_rate", late_rate, "number"),),
            event_time="hour",
        ),
        JoinedGroup(
            "airports",
            1,
            (JoinedKey("origin", "airport", "text"),),
            (JoinedColumn("origin_late_rate", late_rate, "number"),),
            event_time="hour",
        ),
    )
    assert [(call.name, call.inputs, call.module) for call in record.on_demand] == [
        ("waiting", ("predict_at", "gate"), "tests.on_demand"),
        ("doubled_wait", ("wait", "temp"), "tests.on_demand"),
    ]
    assert record.features == (
        Column("temp", "number"),
        Column("carrier", "text"),
        Column("distance", "number"),
        Column("dest_late_rate", "number"),
        Column("origin_late_rate", "number"),
        Column("wait", "number"),
        Column("double_wait", "number"),
    )
    assert [feature.name for feature in record.features] == declared.feature_names
    assert [group.table_name for group in declared.groups] == [
        "schedule_v1",
        "arrivals_v1",
        "weather_v2",
        "airports_v1",
    ]


def test_on_demand_features_run_after_those_that_they_take_whatever_order() -> None:
    declared = view(features=[doubled_wait, lead, weather["temp"], waiting, boarding])
    assert declared.feature_names == ["double_wait", "lead_s", "temp", "wait"]
    record = declared.record(lambda group: group.columns or {})
    assert [call.name for call in record.on_demand] == ["waiting", "doubled_wait", "boarding", "lead"]
    assert [feature.name for feature in record.features] == declared.feature_names
    assert [column.name for column in record.request] == ["flight_id", "origin", "gate"]


def test_whole_group_gives_every_column_that_is_neither_key_nor_time() -> None:
    declared = view(features=[weather], encoders={"sky": fti.OneHot()})
    record = declared.record(lambda group: group.columns or {})
    assert declared.feature_names == ["temp", "sky"]
    assert [feature.name for feature in record.features] == ["temp", "sky"]


def test_numbers_without_an_encoder_are_standardized() -> None:
    declared = view(encoders={"temp": fti.Passthrough()})
    encoders = check_encoders(declared.record(lambda group: group.columns or {}).features, declared.encoders)
    assert encoders == {"distance": fti.Standardize(), "temp": fti.Passthrough()}


def test_label_is_found_by_spine_column_that_on_names() -> None:
    declared = view(label=fti.Label(loads.on(flight_id="flight")["was_full"]))
    assert declared.label.column.spine_keys == {"flight": "flight_id"}


def test_maturity_is_horizon_if_it_is_not_stated() -> None:
    assert fti.Label(arrivals["is_late"], within="30d").age == duration("30d")
    assert fti.Label(arrivals["is_late"]).age == duration("0d")
    assert fti.Label(arrivals["is_late"], maturity="40d", within="30d").age == duration("40d")


def test_lookups_are_the_groups_without_an_event_time() -> None:
    assert [group.table_name for group in view(features=[weather["temp"]]).lookups] == []
    declared = view(spine=untimed, label=fti.Label(untimed["churned"]), features=[untimed["age"]])
    assert declared.lookups == []
    assert [group.table_name for group in view(features=[untimed["age"]]).lookups] == ["untimed_v1"]


def test_earlier_value_of_label_may_be_prefixed_feature() -> None:
    assert view(features=[arrivals.prefix("past_")["is_late"]]).feature_names == ["past_is_late"]
    declared = view(label=fti.Label(verdicts["was_late"]), features=[verdicts.prefix("past_")["minutes"]])
    assert declared.feature_names == ["past_minutes"]
