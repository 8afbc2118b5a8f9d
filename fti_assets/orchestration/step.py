"""A declaration's function as a Dagster asset: one ``@dg.asset`` around a generator that Dagster gives what it asks for."""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from fti_assets.core.extras import named_extras
from fti_assets.core.functions import source_text
from fti_assets.core.home import MAIN
from fti_assets.errors import DeclarationError, StoreError, one_of
from fti_assets.orchestration.declaration import Declaration
from fti_assets.orchestration.options import accepted_by_dagster
from fti_assets.orchestration.partitions import is_timed
from fti_assets.orchestration.resources import STORES, Stores
from fti_assets.orchestration.signature import CONTEXT, parameters_of, take
from fti_assets.stores.lake.work import begin_work, end_work

ENVIRONMENT = "fti/environment"
"""The tag of a run that writes the stores of an environment."""

Run = Callable[[dg.AssetExecutionContext, Stores, dict[str, Any]], Iterator[Any]]


def build_asset(
    declaration: Declaration,
    *,
    function: Callable[..., Any] | None,
    run: Run,
    own_parameters: Collection[str] = (),
    annotations: Mapping[str, Any] | None = None,
    ins: Mapping[str, Any] | None = None,
    config: type[dg.Config] | None = None,
    deps: Sequence[dg.AssetDep] = (),
    check_specs: Sequence[dg.AssetCheckSpec] = (),
    metadata: Mapping[str, Any] | None = None,
    kinds: Collection[str] = (),
    group_name: str,
    description: str | None = None,
    automation_condition: dg.AutomationCondition[Any] | None = None,
    freshness_policy: dg.FreshnessPolicy | None = None,
    code_terms: object,
) -> dg.AssetsDefinition:
    """Build the asset of a declaration, whose own ``@dg.asset`` parameters win over what is derived here.

    Args:
        declaration: what the asset is of.
        function: the user's function, or None if the declaration has none.
        run: what the step does, given the context, the stores and the arguments that Dagster resolved.
        own_parameters: the function's parameters that ``run`` itself provides.
        annotations: the real types of the function's parameters.
        ins: plain Dagster assets that the function takes, as ``@dg.asset`` has them.
        config: the run config of a declaration that has no function.
        deps: the upstream assets that are read from a store.
        description: what the asset is, by default the function's docstring.
        automation_condition: when it runs by itself, unless the user says otherwise; None said by the user is never.
        freshness_policy: how long after its last materialization it is stale, unless the user says otherwise; None said by the user is
            never.
        code_terms: everything but the source that decides what is computed, for the code version.
        check_specs, metadata, kinds, group_name: as ``@dg.asset`` has them.
    """
    name, options = declaration.asset_name, declaration.options
    types = _filled_by_dagster(function, own_parameters, annotations or {}, name)
    if config is not None:
        types["config"] = config
    # Dagster takes no required_resource_keys beside resources in the signature, so each becomes a parameter.
    keys = sorted(key for key in options.get("required_resource_keys") or () if key not in types)
    types |= dict.fromkeys(keys, dg.ResourceParam[Any])

    def step(context: dg.AssetExecutionContext, **arguments: Any) -> Iterator[Any]:
        for key in keys:
            del arguments[key]
        stores: Stores = arguments.pop(STORES)
        if stores.environment_name is not None:
            tell_environment(context, stores.environment_name)
        begin_work(context.assets_def.code_versions_by_key[context.assets_def.key] or "")
        try:
            with named_extras(name):  # what only a step needs is imported there
                yield from run(context, stores, arguments)
        finally:
            end_work()

    step.__name__ = name
    # Dagster gives a step what its signature names, so the generator takes on the user's parameters.
    with accepted_by_dagster(name):
        take(step, types)
    asset_options: dict[str, Any] = {option: value for option, value in options.items() if value is not None}
    asset_options.pop("required_resource_keys", None)
    if asset_options.pop("output_required", False):
        raise DeclarationError(
            f"{name}: output_required=True cannot be kept, since rows that fail validation are withheld"
        )
    own_resources = [option for option in ("resource_defs", "io_manager_def") if option in asset_options]
    if own_resources:
        raise DeclarationError(
            f"{name}: {one_of(own_resources)} cannot be kept, since Dagster takes no resources of an asset's own beside the "
            "stores: give them to the Definitions, resources={...}, and name an IO manager by io_manager_key"
        )
    settings = {
        "kinds": set(kinds),
        "io_manager_key": STORES,  # so that other assets take its rows as an input
        "group_name": group_name,
        "description": description or (inspect.getdoc(function) if function else None),
        "code_version": code_version(function, code_terms),
        "backfill_policy": dg.BackfillPolicy.single_run() if is_timed(declaration.partitions_def) else None,
        **({} if "key" in asset_options else {"name": name}),
        **asset_options,
        "automation_condition": options.get("automation_condition", automation_condition),
        "freshness_policy": options.get("freshness_policy", freshness_policy),
        "ins": ins or None,
        "deps": [*deps, *(one.key if isinstance(one, Declaration) else one for one in options.get("deps") or [])],
        "check_specs": [*check_specs, *(options.get("check_specs") or [])],
        "metadata": {**(metadata or {}), **declaration.links, **(options.get("metadata") or {})},
    }
    with beta_accepted(), accepted_by_dagster(name):
        # Not required, so that a step whose rows are refused can end without materializing the asset.
        return dg.asset(**settings, output_required=False)(step)


def tell_environment(context: dg.AssetExecutionContext, environment: str) -> None:
    """Tag a run with the environment whose stores it writes.

    Raises:
        StoreError: the instance knows the asset of another environment, whose partitions it would take this run's for.
    """
    key = context.assets_def.key
    event = context.instance.get_latest_materialization_event(key)
    before = None if event is None else context.instance.get_run_by_id(event.run_id)
    if before is not None and (of := before.tags.get(ENVIRONMENT, MAIN)) != environment:
        raise StoreError(
            f"this run writes {key.to_user_string()} in the environment {environment!r}, and its Dagster instance knows that of "
            f"{of!r}, for "
            "which it would take it: give the environment a DAGSTER_HOME of its own. Nothing was stored"
        )
    context.instance.add_run_tags(context.run.run_id, {ENVIRONMENT: environment})


@contextmanager
def beta_accepted() -> Iterator[None]:
    """Keep from the user the warnings about the beta features of Dagster that this library itself rests on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Specifying a partitions_def on an AssetCheckSpec")
        warnings.filterwarnings("ignore", message="Parameter `(backfill_policy|allow_nonexistent_upstream_partitions)`")
        yield


_WORDS = ("description",)
"""The parameters of a declaration that are no part of its code version; all others were one from the start, so they stay."""


def code_version(function: Callable[..., Any] | None, code_terms: object) -> str:
    """A version of what is computed, from the source of the function, what it holds besides, and what is declared around it.

    A description among the arguments of the decorator does not count.
    """
    source = "" if function is None else source_text(function, _WORDS)
    return hashlib.sha256(f"{source}\n{code_terms!r}".encode()).hexdigest()[:12]


def _filled_by_dagster(
    function: Callable[..., Any] | None, own_parameters: Collection[str], annotations: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """The parameters of the step and their types: the context, the stores, and the function's own that Dagster fills."""
    parameters = list(parameters_of(function).values()) if function is not None else []
    if any(parameter.name == STORES for parameter in parameters):
        raise DeclarationError(
            f"{name}: a parameter cannot be called {STORES!r}, which is the key of the Stores resource"
        )
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise DeclarationError(
                f"{name}: parameter *{parameter.name} has no name to be filled by; name each parameter"
            )
    names = [one.name for one in parameters if one.name not in own_parameters and one.name != CONTEXT]
    return {CONTEXT: dg.AssetExecutionContext, STORES: Stores, **{one: annotations.get(one, Any) for one in names}}
