"""``AssetOptions`` is ``@dg.asset``, name by name, and each option reaches the asset."""

import inspect
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.errors import DeclarationError
from fti_assets.orchestration.options import AssetOptions

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01")
KEY = dg.AssetKey("planes_v1")


def asset(**options: Any) -> dg.AssetsDefinition:
    options = {"keys": ["plane"], **options}

    @fti.feature_group(**options)
    def planes() -> pd.DataFrame:
        """What flies."""
        return pd.DataFrame({"plane": ["N1"]})

    return planes.assets_def


def spec(**options: Any) -> dg.AssetSpec:
    (result,) = asset(**options).specs
    return result


def keyword_only(function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY}


def test_declaration_takes_every_named_parameter_of_asset() -> None:
    own = keyword_only(fti.feature_group) - keyword_only(dg.asset)
    assert keyword_only(fti.feature_group) | set(AssetOptions.__annotations__) == keyword_only(dg.asset) | own
    assert set(AssetOptions.__annotations__) == keyword_only(dg.asset) - {"name", "ins"}


def test_without_options_the_declaration_says_what_the_asset_is() -> None:
    result = spec()
    assert result.key == KEY
    assert result.group_name == "features"
    assert result.description == "What flies."
    assert result.kinds == {"duckdb", "parquet"}
    assert result.skippable
    assert result.code_version


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"name": "aircraft"}, ["aircraft_v1"]),
        ({"version": 3}, ["planes_v3"]),
        ({"key_prefix": "ny"}, ["ny", "planes_v1"]),
        ({"key_prefix": ["us", "ny"]}, ["us", "ny", "planes_v1"]),
        ({"key": "fleet"}, ["fleet"]),
        ({"key": ["ny", "fleet"]}, ["ny", "fleet"]),
        ({"key": dg.AssetKey(["ny", "fleet"])}, ["ny", "fleet"]),
    ],
)
def test_the_key_is_the_one_that_was_asked_for(options: dict[str, Any], key: list[str]) -> None:
    results = asset(**options)
    assert results.key == dg.AssetKey(key)
    assert {check.asset_key for check in results.check_keys} == {dg.AssetKey(key)}


@pytest.mark.parametrize(
    ("option", "value", "of_spec"),
    [
        ("tags", {"team": "ops"}, lambda spec: {key: spec.tags[key] for key in ("team",)}),
        ("owners", ["ops@example.com", "team:ml"], lambda spec: list(spec.owners)),
        ("kinds", {"spark"}, lambda spec: spec.kinds),
        ("group_name", "sources", lambda spec: spec.group_name),
        ("description", "Aircraft.", lambda spec: spec.description),
        ("code_version", "mine", lambda spec: spec.code_version),
        ("metadata", {"source": "faa"}, lambda spec: {"source": spec.metadata["source"]}),
        ("deps", ["airports"], lambda spec: [dep.asset_key.to_user_string() for dep in spec.deps]),
        ("automation_condition", dg.AutomationCondition.eager(), lambda spec: spec.automation_condition),
        (
            "freshness_policy",
            dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=1)),
            lambda spec: spec.freshness_policy,
        ),
    ],
)
def test_an_option_reaches_the_spec(option: str, value: Any, of_spec: Callable[[dg.AssetSpec], Any]) -> None:
    assert of_spec(spec(**{option: value})) == value


def test_metadata_of_user_joins_that_of_declaration_and_wins() -> None:
    metadata = spec(metadata={"source": "faa", "keys": "mine"}).metadata
    assert (metadata["source"], metadata["keys"]) == ("faa", "mine")
    assert metadata["event_time"] == "none: a lookup, always visible"


def test_a_retry_policy_reaches_the_step() -> None:
    policy = dg.RetryPolicy(max_retries=3)
    assert asset(retry_policy=policy).op.retry_policy == policy


def test_op_tags_and_a_pool_reach_the_step() -> None:
    op = asset(op_tags={"memory": "4Gi"}, pool="lake").op
    assert op.tags["memory"] == "4Gi"
    assert isinstance(op, dg.OpDefinition)
    assert op.pool == "lake"


def test_required_resources_and_hooks_reach_the_step() -> None:
    @dg.success_hook
    def told(context: dg.HookContext) -> None:
        pass

    result = asset(required_resource_keys={"landing"}, hooks={told})
    assert {"fti", "landing"} <= result.required_resource_keys
    assert result.hook_defs == {told}


def test_required_resources_are_in_context_and_not_among_arguments(tmp_path: Path) -> None:
    observed: list[object] = []

    @fti.feature_group(keys=["plane"], required_resource_keys={"landing"})
    def planes(context: dg.AssetExecutionContext) -> pd.DataFrame:
        observed.append(context.resources.landing)
        return pd.DataFrame({"plane": ["N1"]})

    resources = {"fti": fti.Stores(lake=str(tmp_path / "lake")), "landing": "a folder"}
    assert dg.materialize([planes.assets_def], resources=resources).success
    assert observed == ["a folder"]


@pytest.mark.parametrize("option", ["resource_defs", "io_manager_def"])
def test_resources_of_assets_own_are_refused_with_where_to_give_them(option: str) -> None:
    own = {"landing": dg.ResourceDefinition.hardcoded_resource(1)}
    with pytest.raises(DeclarationError, match=f"'{option}' cannot be kept.*give them to the Definitions"):
        asset(**{option: own})


def test_a_config_schema_reaches_the_step() -> None:
    config = asset(config_schema={"limit": int}).op.config_schema.as_field()
    assert set(config.config_type.fields) == {"limit"}  # type: ignore[attr-defined]


def test_an_io_manager_reaches_the_output() -> None:
    result = asset(io_manager_key="mine")
    assert result.get_io_manager_key_for_asset_key(KEY) == "mine"


def test_check_specs_of_user_join_those_of_declaration() -> None:
    results = asset(check_specs=[dg.AssetCheckSpec("mine", asset=KEY)])
    assert {"mine", "rows_unique"} <= {check.name for check in results.check_specs}


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_partitions_and_their_backfill_reach_the_asset() -> None:
    timed = asset(partitions_def=DAYS, event_time="built_at")
    assert timed.partitions_def == DAYS
    assert timed.backfill_policy == dg.BackfillPolicy.single_run()
    one_by_one = asset(partitions_def=DAYS, event_time="built_at", backfill_policy=dg.BackfillPolicy.multi_run())
    assert one_by_one.backfill_policy == dg.BackfillPolicy.multi_run()
    named = asset(partitions_def=dg.StaticPartitionsDefinition(["us", "eu"]))
    assert named.backfill_policy != dg.BackfillPolicy.single_run()


def test_option_none_is_as_if_it_was_not_given() -> None:
    result = spec(**dict.fromkeys(["tags", "owners", "kinds", "group_name", "description", "key", "deps"]))
    assert (result.key, result.group_name, result.description) == (KEY, "features", "What flies.")


def test_an_output_cannot_be_required() -> None:
    with pytest.raises(DeclarationError, match="planes_v1: output_required=True cannot be kept, since rows that fail"):
        asset(output_required=True)
    assert spec(output_required=False).skippable


def test_option_that_asset_does_not_have_is_refused() -> None:
    with pytest.raises(DeclarationError, match="fti.feature_group takes no 'no_such_option'"):
        asset(no_such_option=1)


def test_code_version_follows_source_and_declaration() -> None:
    assert spec().code_version == spec().code_version == spec(tags={"team": "ops"}).code_version
    assert spec().code_version != spec(event_time="t", partitions_def=DAYS).code_version
    assert spec(event_time="t", ttl="1h").code_version != spec(event_time="t", ttl="2h").code_version


def test_code_version_ignores_schema_addresses() -> None:
    def schema(least: int) -> pa.DataFrameSchema:
        checks = [pa.Check(lambda values: values.str.len() > least, name="long"), pa.Check.str_length(least)]
        return pa.DataFrameSchema({"plane": pa.Column(str, checks)})

    first, second = schema(1), schema(1)
    assert spec(schema=first).code_version == spec(schema=second).code_version
    assert spec(schema=first).code_version != spec(schema=schema(2)).code_version
