"""Whatever a declaration is given, it works or says in the library's words what is wrong: the argument, its value, what to write."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.errors import DeclarationError, FtiError, ModelError
from fti_assets.training.judging.gates.gate import verdict_of
from fti_assets.training.judging.scores import Scores
from tests.support import hostile

NOT_DECLARED = {"FeatureGroup", "Grid", "Table", "TrainingData", "read_files", "shipped_text"}
"""What the library makes itself, and what takes a step's context."""


def refusals(cases: Iterable[tuple[str, str, str]]) -> list[str]:
    """What some calls raise that is none of the library's errors, or an error that is longer than it may be."""
    strange = []
    for case in cases:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                hostile.call(*case)
        except FtiError as error:
            strange += [f"{case}: {len(str(error))} characters"] if len(str(error)) > 4_000 else []
        except Exception as error:
            strange.append(f"{case}: {type(error).__name__}: {str(error)[:200]}")
    return strange


def test_every_declaration_is_among_those_that_are_tried() -> None:
    assert {*fti.__all__} - {name.partition(".")[0] for name in hostile.DECLARING} == NOT_DECLARED


def test_declarations_take_or_refuse_hostile_arguments() -> None:
    """A few of the calls, each time others of the same kinds; ``make soak`` makes all."""
    assert refusals(random.Random(7).sample(hostile.cases(), 2_500)) == []


@pytest.mark.soak
def test_declarations_take_or_refuse_each_hostile_argument() -> None:
    assert refusals(hostile.cases()) == []


@pytest.mark.parametrize("value", [name for name in hostile.VALUES if "raise" in name])
def test_objects_whose_own_methods_raise_are_refused(value: str) -> None:
    cases = [case for case in hostile.cases() if case[2] == value]
    assert refusals(random.Random(7).sample(cases, 100)) == []


@pytest.mark.parametrize(
    ("call", "given", "said"),
    [
        ("feature_group", {"keys": ["a", "a"]}, "keys of 'body' name 'a' more than once"),
        ("feature_group", {"keys": {"a", "b"}}, r"a set, whose order is another in each process; .* write keys=\[...\]"),
        ("feature_group", {"keys": pd.DataFrame({"a": [1]})}, "keys is a DataFrame, a table; it takes text or a list of text"),
        ("feature_group", {"keys": np.array(1)}, "keys is .*; it takes text or a list of text"),
        ("feature_group", {"keys": b"ab"}, "keys is b'ab', a bytes; it takes text or a list of text"),
        ("feature_group", {"tie_break": ""}, "tie_break is '', an empty text, which names nothing: leave tie_break out"),
        ("feature_group", {"lookback": ""}, "lookback is '', an empty text"),
        ("feature_group", {"lookback": float("nan")}, "lookback is nan, which is no finite number; it takes text, a timedelta or None"),
        ("feature_group", {"ttl": True}, "ttl is True; it takes text, a timedelta or None"),
        ("feature_group", {"ttl": timedelta.max}, "is longer than 1,000,000 days"),
        ("feature_group", {"version": "1"}, "version is '1'"),
        ("feature_group", {"version": True}, "version is True"),
        ("feature_group", {"rename": 0}, "rename of 'body' is 0"),
        ("feature_group", {"partition_by": "\ud800"}, r"has half a character and cannot be written as UTF-8"),
        ("on_demand", {"version": 0}, "version is 0; versions are 1, 2, 3"),
        ("new_data_sensor", {"minimum_interval_seconds": -1}, "minimum_interval_seconds=-1 is negative"),
        ("new_data_sensor", {"name": "a b"}, "a b cannot be a Dagster sensor"),
        ("external_group", {"group_name": "a b"}, "e_v1 cannot be a Dagster asset"),
        ("build_definitions", {"sensors": True}, r"sensors is True; it takes a list: write sensors=\[...\]"),
        ("build_definitions", {"assets": 0}, r"assets is 0; it takes a list"),
        ("experiment", {"at_least": float("nan")}, "at_least is nan, which is no finite number; it takes a number"),
        ("experiment", {"least_keys": 10**30}, "least_keys is 1000.*; it takes a whole number"),
        ("NotWorseThanChampion", {"tolerance": float("inf")}, "tolerance is inf, which is no finite number; it takes a number"),
        ("TopK", {"k": True}, "TopK has k=True"),
        ("TopK", {"by": [""]}, "by is .*with an empty text"),
        ("Stores", {"lake": ""}, "lake is '', an empty text, which names nothing: leave lake out"),
        ("Stores", {"lake": "a\0b"}, "which no file or folder can be called"),
        ("ParquetSink", {"folder": " "}, "ParquetSink has folder=' '"),
        ("FunctionSink", {"function": 3}, "function is 3; it takes a function"),
        ("PostgresTable", {"dsn": 3}, "dsn is 3; it takes text"),
    ],
)  # fmt: skip
def test_value_that_was_taken_in_silence_is_refused(call: str, given: dict[str, Any], said: str) -> None:
    one = hostile.DECLARING[call]
    with pytest.raises(DeclarationError, match=said):
        one.call(**{**one.given, **given})


def test_what_a_value_s_own_class_raises_names_the_argument() -> None:
    with pytest.raises(
        DeclarationError,
        match="fti.feature_group: schema is <.*RaisesPart .*cannot be used, since it raises Zero.*: .*of __class__",
    ):
        hostile.call("feature_group", "schema", "raises when its class is asked for")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_whoever_ends_the_process_is_not_held_up(error: type[BaseException]) -> None:
    def end(self: object) -> str:
        raise error

    ends = type("Ends", (list,), {"__iter__": end})()
    with pytest.raises(error):
        fti.feature_group(keys=ends)


def test_numbers_and_texts_of_other_classes_become_python_s_own() -> None:
    keys: Any = np.array(["a", "b"])
    group = fti.feature_group(keys=keys, name=np.str_("ab"))(hostile.body)
    assert (group.keys, group.name) == (("a", "b"), "ab")
    assert {type(one) for one in (*group.keys, group.name)} == {str}
    seed: Any = np.int8(3)
    assert type(fti.RandomSplit(seed=seed).seed) is int


@pytest.mark.parametrize("method", ["strip", "lower", "encode", "split"])
def test_texts_whose_methods_raise_are_taken_as_python_s_own(method: str) -> None:
    rate = fti.Rate(per=hostile.raising(method, str, "7d"))
    split = fti.TimeSplit(validation="7d", test=hostile.raising(method, str, "7d"))
    sink = fti.ParquetSink(hostile.raising(method, str, "exports"))
    assert (rate, split, sink) == (
        fti.Rate(per="7d"),
        fti.TimeSplit(validation="7d", test="7d"),
        fti.ParquetSink("exports"),
    )
    assert {type(one) for one in (rate.per, split.test, sink.folder)} == {str}
    texts: Any = [hostile.raising(method, str, "age")]
    assert hostile.customers[texts].columns == ("age",)


def test_lists_are_taken_whatever_length_they_say() -> None:
    names: Any = hostile.Long(["age"])
    assert hostile.customers[names].columns == ("age",)
    assert fti.build_definitions([hostile.customers], jobs=hostile.Long([fti.upkeep_job()])).jobs


def test_a_frame_in_the_place_of_a_key_is_named() -> None:
    with pytest.raises(DeclarationError, match="on: buyer is a DataFrame; it takes text"):
        hostile.call("group.on", "buyer", "a polars frame")
    with pytest.raises(DeclarationError, match="(?s)duplicates of 'body' is .*: write 'error'"):
        hostile.call("feature_group", "duplicates", "a polars frame")


def test_a_variable_of_the_environment_stays_one() -> None:
    table = fti.PostgresTable(dsn=dg.EnvVar("SOME_DSN"), table="t")
    assert isinstance(table.dsn, dg.EnvVar)


class Says:
    name, metric = "says", "log_loss"

    def __init__(self, verdict: Any) -> None:
        self.verdict = verdict

    def judge(self, scores: Scores) -> Any:
        return self.verdict


@pytest.mark.parametrize("passed", ["no", None, 1, float("nan"), [False]])
def test_gate_that_says_neither_yes_nor_no_is_refused(passed: Any) -> None:
    with pytest.raises(ModelError, match="gave GateVerdict.*: return fti.GateVerdict"):
        verdict_of(Says(fti.GateVerdict("says", passed, "because")), Scores())
    with pytest.raises(ModelError, match="gave None: return fti.GateVerdict"):
        verdict_of(Says(None), Scores())


def test_a_gate_may_answer_with_a_bool_of_numpy() -> None:
    passed: Any = np.bool_(False)
    assert verdict_of(Says(fti.GateVerdict("says", passed, "because")), Scores()).passed is False
