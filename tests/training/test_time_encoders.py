"""Timestamps as numbers: pandas is the oracle of the calendar, whole microseconds that of an age."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core.manifest import Column, GraphInput
from fti_assets.errors import DeclarationError
from fti_assets.inference.serving.rows.columns import Columns
from fti_assets.inference.serving.rows.slots import Feeds, Slots
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.samples import Samples
from fti_assets.training.encoders.declarations import check_encoders
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.encoders.graph import build_encoder
from fti_assets.training.models.graphs.export import export
from fti_assets.training.models.parts.frames import Frames
from tests.support.examples import examples

PARTS = ["minute", "hour", "weekday", "day", "month", "day_of_year", "year"]
TIMES = st.lists(
    st.none()
    | st.datetimes()
    | st.sampled_from(
        [pd.Timestamp(one) for one in ("1970-01-01", "1969-12-31 23:59:59.999999", "2000-02-29 12:00", "2100-03-01")]
    ),
    max_size=12,
)


def array(times) -> np.ndarray:
    return np.array(
        [np.datetime64("NaT") if one is None else np.datetime64(one, "us") for one in times], "datetime64[us]"
    )


def encoder_of(encoders, columns):
    features = [Column(name, "timestamp") for name in columns]
    return build_encoder(features, fit_encoders(features, encoders, columns))


def of_pandas(times: np.ndarray, part: str) -> np.ndarray:
    dates = pd.DatetimeIndex(times)
    return getattr(dates, {"weekday": "day_of_week"}.get(part, part)).to_numpy(dtype=np.float64)


@settings(max_examples=examples(180), deadline=None)
@given(TIMES)
def test_calendar_parts_are_those_of_pandas(times) -> None:
    columns = {"t": array(times)}
    model = encoder_of({"t": fti.CalendarParts(PARTS)}, columns)
    assert model.dense_columns == tuple(f"t:{part}" for part in PARTS)
    dense = model.encode(columns)["dense"]
    for at, part in enumerate(PARTS):
        expected = of_pandas(columns["t"], part)
        assert np.array_equal(dense[:, at], np.where(np.isnan(expected), -1, expected))


@settings(max_examples=examples(90), deadline=None)
@given(TIMES)
def test_cyclical_parts_lie_on_a_circle(times) -> None:
    columns = {"t": array(times)}
    periods = {"minute": 60, "hour": 24, "weekday": 7, "month": 12, "day_of_year": 365.2425}
    model = encoder_of({"t": fti.CalendarParts(list(periods), cyclical=True)}, columns)
    dense = model.encode(columns)["dense"]
    for at, (part, period) in enumerate(periods.items()):
        angle = 2 * np.pi * (of_pandas(columns["t"], part) - (part in ("month", "day_of_year"))) / period
        expected = np.nan_to_num(np.stack([np.sin(angle), np.cos(angle)], axis=1), nan=0.0)
        assert np.allclose(dense[:, 2 * at : 2 * at + 2], expected, atol=1e-6)


@settings(max_examples=examples(180), deadline=None)
@given(TIMES, st.sampled_from(["1s", "1h", "1d", "7d"]), st.sampled_from([None, -1.0, 0]))
def test_age_is_the_difference_in_units(times, unit, missing) -> None:
    own, other = array(times), array(times[::-1])
    columns = {"t": own, "now": other}
    model = encoder_of({"t": fti.Age("now", unit=unit, missing=missing), "now": fti.CalendarParts(["hour"])}, columns)
    assert model.inputs[0] == GraphInput("age.t", "int64", ("t", "now"))
    ages = model.encode(columns)["dense"][:, 0]
    unit_us = pd.Timedelta(unit.upper() if unit.endswith("d") else unit) // pd.Timedelta("1us")
    for age, one, two in zip(ages, own, other, strict=True):
        if np.isnat(one) or np.isnat(two):
            assert np.isnan(age) if missing is None else age == missing
        else:
            assert age == np.float32(int((two - one).astype(np.int64)) / unit_us)


@pytest.mark.parametrize(
    ("declare", "problem"),
    [
        (lambda: fti.CalendarParts([]), "give one or more"),
        (lambda: fti.CalendarParts(["hours"]), "give one or more of 'minute', 'hour'"),
        (lambda: fti.CalendarParts(["hour", "hour"]), "each once"),
        (lambda: fti.CalendarParts(["year"], cyclical=True), "cyclical=True"),
        (lambda: fti.Age("now", unit="0s"), "counted in nothing"),
        (lambda: fti.Age("now", unit="days"), "unit"),
        (lambda: fti.Age("now", missing=float("nan")), "finite number"),
    ],
)
def test_impossible_time_encoders_are_refused(declare, problem) -> None:
    with pytest.raises(DeclarationError, match=problem):
        declare()


def test_age_needs_another_time_of_the_view() -> None:
    features = [Column("t", "timestamp"), Column("x", "number")]
    for at, problem in (("now", "add it to them"), ("x", "is no timestamp"), ("t", "is the same timestamp")):
        with pytest.raises(DeclarationError, match=problem):
            check_encoders(features, {"t": fti.Age(at)})
    assert check_encoders(features, {"t": fti.Age("now")}, untyped=["now"])["t"] == fti.Age("now")
    with pytest.raises(DeclarationError, match="'t' is a timestamp and has no encoder.*fti.CalendarParts"):
        check_encoders(features, {})
    with pytest.raises(DeclarationError, match="fits? 't', a timestamp column: use fti.Age"):
        check_encoders(features, {"t": fti.Standardize()})


@settings(max_examples=examples(90), deadline=None)
@given(TIMES.filter(bool))
def test_requests_and_batches_fill_the_same_inputs(times) -> None:
    inputs = (
        GraphInput("age.t", "int64", ("t", "now")),
        GraphInput("time.now", "int64", ("now",)),
        GraphInput("numbers", "float32", ("x",)),
    )
    slots = Slots("model")
    for name, kind in (("x", "number"), ("t", "timestamp"), ("now", "timestamp")):
        slots.add(name, kind)
    plain = [
        None if one is None else one if not isinstance(one, pd.Timestamp) else one.to_pydatetime() for one in times
    ]
    values = [[1.0] * len(plain), plain, plain[::-1]]
    online = Feeds(inputs, slots).of(Columns(len(plain), values))
    columns = {"x": np.ones(len(plain)), "t": array(times), "now": array(times[::-1])}
    offline = Graph.feeds(_Inputs(inputs), columns)  # type: ignore[arg-type]
    for name in ("age.t", "time.now", "numbers"):
        assert np.array_equal(online[name], offline[name])

    class Kept:
        def answer(self, feeds, output):
            return np.concatenate([feeds["age.t"], feeds["time.now"]], axis=1)

    rows = [Feeds(inputs, slots).run(Kept(), "", [one[at] for one in values])[0] for at in range(len(plain))]
    assert np.array_equal(np.array(rows), np.concatenate([offline["age.t"], offline["time.now"]], axis=1))


class _Inputs:
    _what = "graph"

    def __init__(self, inputs) -> None:
        self.inputs = inputs


def test_model_of_times_is_exported_and_keeps_its_samples() -> None:
    from lightgbm import LGBMClassifier

    from fti_assets.training.datasets.splits.split import SPLITS
    from fti_assets.training.models.data import TrainingData

    random = np.random.default_rng(3)
    features = [Column("now", "timestamp"), Column("since", "timestamp"), Column("x", "number")]
    parts = {}
    for part in SPLITS:
        now = np.datetime64("2025-01-01", "us") + random.integers(0, 10**7, 200).astype("timedelta64[s]")
        since = now - random.integers(0, 10**6, 200).astype("timedelta64[s]")
        since[::11] = np.datetime64("NaT")
        parts[part] = {"now": now, "since": since, "x": random.normal(size=200)}
    labels = {part: (of_pandas(one["now"], "hour") > 12).astype(float) for part, one in parts.items()}
    encoders = {
        "now": fti.CalendarParts(["hour", "weekday"]),
        "since": fti.Age("now", unit="1h"),
        "x": fti.Passthrough(),
    }
    fitted = fit_encoders(features, encoders, parts["train"])
    data = TrainingData(features, fitted, parts, labels, task="binary")
    assert list(data.train.frame) == ["now_hour", "now_weekday", "since", "x"]
    for rows in ("X", "frame"):
        model = LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(getattr(data.train, rows), data.train.y)
        exported = export(model, data.encoder, data, "binary")
        assert {"time.now", "age.since"} <= {one.name for one in exported.inputs} | {"time.now"}
        samples = Samples.from_json(exported.samples.to_json(), texts=[], times=["now", "since"], what="samples")
        graph = Graph.from_bytes(exported.bytes, exported.inputs, what="made")
        samples.check(graph, "probability", what="made")
        answers = graph.run(parts["test"])["probability"]
        assert np.allclose(answers, model.predict_proba(getattr(data.test, rows))[:, 1], atol=1e-5)


def test_part_of_a_time_hides_no_feature() -> None:
    features = [Column("b", "timestamp"), Column("b_hour", "number"), Column("b_hour.1", "number")]
    columns = {
        "b": np.array(["2025-01-01T07", "2025-01-01T09"], "datetime64[us]"),
        "b_hour": np.array([1.5, 2.5]),
        "b_hour.1": np.array([3.5, 4.5]),
    }
    encoders = {"b": fti.CalendarParts(["hour"]), "b_hour": fti.Passthrough(), "b_hour.1": fti.Passthrough()}
    encoder = build_encoder(features, fit_encoders(features, encoders, columns))
    frames = Frames(features, encoder, columns)
    frame = frames.raw(frames.raw_encoder.encode(columns))
    expected = {"b_hour.2": [7.0, 9.0], "b_hour": [1.5, 2.5], "b_hour.1": [3.5, 4.5]}
    assert frame.to_dict("list") == expected
    assert list(frame) == list(expected)
