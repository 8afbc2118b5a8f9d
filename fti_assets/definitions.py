"""Declarations to plain Dagster definitions."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import dagster as dg

from fti_assets.alerts.alerts import ALERTS, Alerts
from fti_assets.alerts.sensor import alerts_sensor
from fti_assets.core.addresses import scrub
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import TableName
from fti_assets.errors import (
    DeclarationError,
    excerpt,
    one_of,
)
from fti_assets.experiments.experiment import Experiment
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.published.reading import close_stores
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitors.late_labels.sensor import late_label_sensors
from fti_assets.monitors.monitor import Monitor
from fti_assets.monitors.parity.parity import Parity
from fti_assets.monitors.triggers import check_trigger
from fti_assets.orchestration.declaration import Declaration, TableDeclaration, walk
from fti_assets.orchestration.resources import STORES, Stores
from fti_assets.orchestration.signature import parameters_of
from fti_assets.reviews.asset import review_of
from fti_assets.reviews.review import Review
from fti_assets.training.models.champions.group_versions import refuse_retired_versions
from fti_assets.training.models.model import Model
from fti_assets.training.retraining.sensor import retraining_sensor
from fti_assets.training.triggers.trigger import MonitoredTrigger

_LISTS = ("assets", "asset_checks", "jobs", "schedules", "sensors")
# One object each, since Dagster merges definitions only if their resources and executors are the same objects.
_DEFAULT_STORES = Stores()
_EXECUTORS = dg.multi_or_in_process_executor.config_schema.as_field().config_type
_IN_PROCESS = dg.multi_or_in_process_executor.configured(
    lambda config: config,
    name="in_process_or_multiprocess",
    config_schema=dg.Field(_EXECUTORS, default_value={"in_process": {}}),
    description="One step after another in the run's own process, unless the run asks for multiprocess.",
)


@checked_arguments(options=inspect.signature(dg.Definitions).parameters, of="dg.Definitions", itself=["declarations"])
def build_definitions(
    declarations: Sequence[Declaration],
    *,
    name: str | None = None,
    resources: Mapping[str, Any] | None = None,
    executor: dg.ExecutorDefinition | dg.Executor | None = _IN_PROCESS,
    **options: Any,
) -> dg.Definitions:
    """Turn declarations, and everything that they depend on, into ``dg.Definitions``.

    The definitions include running sensors that evaluate the automation conditions, take in prediction logs and evaluate
    a model's triggers, and one that sends alerts if there is a resource ``alerts``, ``fti.Alerts``. Declare systems that share groups in
    one call. The result can be merged with other definitions that have the same resources.

    Args:
        declarations: groups, datasets, models, predictions, prediction logs, experiments and monitors; what they depend on is collected.
        name: the system's name, the prefix of its sensors' names; by default the name of the first declaration.
        resources: Dagster resources; ``fti`` is the ``Stores``, by default those under ``FTI_HOME``, and ``alerts`` the ``Alerts``, by
            default none.
        executor: how a run executes its steps. By default one after another in the run's own process, because one process per step
            imports everything again; a run with long steps can ask for processes in its config, ``{"execution": {"config":
            {"multiprocess": {"max_concurrent": 2}}}}``. ``dg.multiprocess_executor`` makes this the default for all runs. None
            leaves it to Dagster, or to the executor of the definitions that these are merged with.
        options: what else ``dg.Definitions`` takes (``jobs``, ``sensors``, ``schedules``, ``loggers``, more ``assets`` and
            ``asset_checks``).

    Raises:
        DeclarationError: two declarations have the same name and version, two logs are for one model, a model names a monitor that
            is not declared, or a champion needs a group version that is no longer declared.
    """
    if not declarations:
        raise DeclarationError(
            "build_definitions was given no declarations: name at least one, build_definitions([weather])"
        )
    if not isinstance(declarations, Iterable) or isinstance(declarations, str):
        raise DeclarationError(
            f"build_definitions takes a list of declarations: write build_definitions([{excerpt(declarations)}])"
        )
    declarations = list(declarations)
    lists = {name: _list_of(options.pop(name, None), name) for name in _LISTS}
    plain = lists.pop("assets")
    strays = [one for one in plain if isinstance(one, Declaration)]
    if strays:
        raise DeclarationError(f"assets=[...] are plain Dagster assets: give {strays[0]!r} among the declarations")
    strange = [one for one in declarations if not isinstance(one, Declaration)]
    if strange:
        raise DeclarationError(
            f"{excerpt(strange[0])} is not a declaration: give feature groups, training datasets, models or batch predictions; "
            "plain Dagster assets go into assets=[...]"
        )
    everything = walk(declarations)
    everything = _without_own([*everything, *reviews_of(everything)])
    _refuse_same_names(everything)
    _refuse_two_logs(everything)
    _refuse_unmade_inputs(everything, plain)
    # Refused here, where the password of an address is kept out of the error.
    all_resources = {STORES: _DEFAULT_STORES, **(resources or {})}
    if all_resources[STORES] is None or isinstance(all_resources[STORES], str | PurePath | Mapping):
        raise DeclarationError(
            f"resources[{STORES!r}] is {scrub(repr(all_resources[STORES]))}: give fti.Stores(lake=..., models=..., online=...)"
        )
    refuse_retired_versions(everything, all_resources[STORES])
    assets = [*(declaration.assets_def for declaration in everything), *plain]
    own_sensors = [one.sensor for one in everything if isinstance(one, PredictionLog)]
    own_sensors += [*retraining_sensors(everything, everything), *late_label_sensors(everything)]
    automation = [*automation_sensors(name or declarations[0].name, everything)]
    watch = _watch(name or declarations[0].name, everything, plain, all_resources.get(ALERTS))
    try:
        sensors = [*automation, *own_sensors, *watch, *lists.pop("sensors")]
        return dg.Definitions(
            assets=assets, resources=all_resources, sensors=sensors, executor=executor, **lists, **options
        )
    except Exception as error:  # Dagster's checks of what it takes share no class
        raise DeclarationError(f"Dagster refuses these definitions: {error}") from error
    finally:
        close_stores()


def _list_of(values: Any, name: str) -> list[Any]:
    if values is None:
        return []
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise DeclarationError(f"build_definitions: {name} is {excerpt(values)}; it takes a list: write {name}=[...]")
    return [one for one in values]  # noqa: C416 - list() asks for a length, which may be any


def automation_sensors(
    name: str,
    declarations: Sequence[Declaration],
    *,
    select: Callable[..., dg.AssetSelection] = dg.AssetSelection.assets,
) -> Iterator[dg.AutomationConditionSensorDefinition]:
    """One running sensor over features and training, one over predictions, which thus never share a run with a model.

    Args:
        name: that of the system, with which the sensors' names begin.
        declarations: those whose conditions are evaluated.
        select: makes the selection of some keys; ``dg.AssetSelection.assets`` refuses one that is not there.
    """
    with_condition = [one for one in declarations if one.assets_def.automation_conditions_by_key]
    parts = (
        ("features_and_training", "Runs what changed data, ended partitions and new cutoffs ask for.", False),
        (
            "inference",
            "Answers rows that are new, as soon as a build can, watches answers, and judges rollouts by what became of them.",
            True,
        ),
    )
    for part, description, answers in parts:
        judging = BatchPredictions | Experiment | Monitor | Parity | Review
        keys = [one.key for one in with_condition if isinstance(one, judging) is answers]
        if keys:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Parameter `use_user_code_server`")
                yield dg.AutomationConditionSensorDefinition(
                    f"{name}_{part}",
                    target=select(*keys),
                    default_status=dg.DefaultSensorStatus.RUNNING,
                    use_user_code_server=True,  # conditions of this library are classes that only the code server knows
                    description=description,
                )


def reviews_of(declarations: Iterable[Declaration]) -> list[Review]:
    """What the models with ``rollback=`` among some declarations bring along."""
    return [review_of(one) for one in declarations if isinstance(one, Model) and one.rollback is not None]


def retraining_sensors(models: Iterable[Declaration], declarations: Sequence[Declaration]) -> list[dg.SensorDefinition]:
    """The sensors of the models with triggers among some declarations.

    Args:
        models: those whose sensors are made; other declarations are left out.
        declarations: all, among which the monitors are that triggers name.

    Raises:
        DeclarationError: a monitor is not declared.
    """
    return [
        retraining_sensor(one, _monitors_of(one, declarations))
        for one in models
        if isinstance(one, Model) and one.retraining is not None
    ]


def _monitors_of(model: Model, declarations: Sequence[Declaration]) -> dict[str, TableName]:
    """The tables of the monitors that a model's triggers name, by that name; of several versions of one the newest.

    Raises:
        DeclarationError: one is not declared, or judges nothing that a trigger asks for.
    """
    by_name: dict[str, Monitor] = {}
    monitors = [one for one in declarations if isinstance(one, Monitor)]
    for one in sorted(monitors, key=lambda monitor: monitor.version):
        by_name[one.name] = one
    by_name |= {one.asset_name: one for one in monitors}
    all_triggers = () if model.retraining is None else model.retraining.triggers
    triggers = [trigger for trigger in all_triggers if isinstance(trigger, MonitoredTrigger)]
    if absent := [trigger.monitor_name for trigger in triggers if trigger.monitor_name not in by_name]:
        names = one_of(by_name) if by_name else "none"
        raise DeclarationError(
            f"model {model.name!r} is trained again by the monitor {absent[0]!r}, which is not declared here: give it to "
            f"build_definitions([..., {absent[0]}]) beside the predictions, in YAML as a MonitorComponent, or name "
            f"another one; there is {names}"
        )
    for trigger in triggers:
        check_trigger(trigger, by_name[trigger.monitor_name], what=f"model {model.name!r}")
    return {trigger.monitor_name: by_name[trigger.monitor_name].table for trigger in triggers}


def _watch(
    name: str, declarations: Sequence[Declaration], plain: Sequence[Any], alerts: Any
) -> list[dg.SensorDefinition]:
    """The sensor that tells what is wrong, if somebody is to be told."""
    return [alerts_sensor(f"{name}_alerts", declarations, plain)] if isinstance(alerts, Alerts) else []


def _without_own(declarations: Sequence[Declaration]) -> list[Declaration]:
    """Without what others are thought to own and is declared here, such as a group of a model that is trained elsewhere."""
    own_keys = {one.key for one in declarations if one.is_owned}
    return [one for one in declarations if one.is_owned or one.key not in own_keys]


def _refuse_same_names(declarations: Sequence[Declaration]) -> None:
    by_key: dict[dg.AssetKey, Declaration] = {}
    by_place: dict[str, Declaration] = {}
    for declaration in declarations:
        key = declaration.assets_def.key
        place = f"models.{declaration.asset_name}"
        if isinstance(declaration, TableDeclaration):
            place = f"{declaration.schema_name}.{declaration.asset_name}"
        if key in by_key:
            kinds = " and ".join(type(one).__name__ for one in (by_key[key], declaration))
            raise DeclarationError(
                f"two declarations are called {key.to_user_string()!r} ({kinds}): give one of them another name or version"
            )
        if place in by_place:
            raise DeclarationError(
                f"two declarations are stored as {place!r}: {by_place[place].key.to_user_string()!r} and "
                f"{key.to_user_string()!r}; give one of them another name or version"
            )
        by_key[key] = by_place[place] = declaration


def _refuse_two_logs(declarations: Sequence[Declaration]) -> None:
    """A file is deleted when it is taken in, so what it holds can go into one table alone."""
    by_model: dict[str, PredictionLog] = {}
    for log in declarations:
        if isinstance(log, PredictionLog):
            other = by_model.setdefault(log.model.name, log)
            if other is not log:
                raise DeclarationError(
                    f"{other.table_name} and {log.table_name} both log model {log.model.name!r}, whose files go into one table: leave "
                    "one of them; what the other holds stays in the lake, and fti.read gives it by its name"
                )


def _refuse_unmade_inputs(declarations: Sequence[Declaration], assets: Iterable[Any]) -> None:
    """Refuse a parameter that Dagster takes for an asset that nothing makes: it would fail in the run, with an error of its own."""
    keys_made = {declaration.assets_def.key for declaration in declarations}
    for asset in assets:
        keys = getattr(asset, "keys", None) or [getattr(asset, "key", None)]
        if None in keys:
            return  # what it makes is known only later, or is for Dagster to refuse
        keys_made |= set(keys)
    for declaration in declarations:
        function = getattr(declaration, "function", None)
        declared_ins = getattr(declaration, "asset_ins", {})
        parameters = parameters_of(function) if function is not None else {}
        for parameter, key in declaration.assets_def.keys_by_input_name.items():
            if parameter not in parameters or parameter in declared_ins or key in keys_made:
                continue
            groups = [one.name for one in declarations if isinstance(one, TimedTable)]
            close = difflib.get_close_matches(parameter, groups, n=1)
            advice = f" (there is the feature group {close[0]!r})" if close else ""
            raise DeclarationError(
                f"parameter {parameter!r} of {declaration.key.to_user_string()} takes an asset {key.to_user_string()!r}, which nothing "
                f"here makes{advice}: annotate a feature group as {parameter}: fti.Table, and a resource or config as what it is; give "
                f"an asset of this code in build_definitions(assets=[...]), and say ins={{{parameter!r}: dg.AssetIn()}} if it is made "
                "elsewhere"
            )
