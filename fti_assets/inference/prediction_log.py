"""Declaring a prediction log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import dagster as dg

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.inference.log.asset import log_asset, log_sensor
from fti_assets.inference.log.log import PredictionLog, own_columns
from fti_assets.inference.log.service_limits import ServiceLimits
from fti_assets.orchestration.declaration import record_use
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.partitions import is_timed
from fti_assets.training.composites.composite import Composite
from fti_assets.training.models.model import Model, Servable

_FIRST_DAY = "2020-01-01"


@checked_arguments(options=AssetOptions)
def prediction_log(
    *,
    name: str,
    model: Model | Composite,
    version: int = 1,
    redact: Sequence[str] = (),
    limits: ServiceLimits | None = None,
    **options: Unpack[AssetOptions],
) -> PredictionLog:
    """Declare a prediction log: a row for each answer that a server or an app logged, with its request, features, ages, build and arm.

    ``fti serve --log`` and ``Predictor.load(..., log=...)`` write files, and a sensor that comes with ``build_definitions`` takes
    them into the table ``predictions.<name>_v<version>``, each line exactly once. The answer of a shadow has the request id
    ``<request id>~<arm>``. One model has one log.

    Each partition says how the model was served: requests, latencies, missing and unknown values. It also has what its processes
    reported: servers' requests by status, CPU time and memory.

    Args:
        name: the name of the log.
        model: the model whose answers are logged.
        version: names the asset and its table.
        redact: request fields and features that no table may hold in clear. Servers and apps leave them out, or hash them
            (``--redact``, ``redact=``). If one of them wrote a value in clear, it is left out here, and a check says so.
        limits: limits for the service in a partition, ``fti.ServiceLimits(error_rate=0.01, p99_ms=50)``: each is a check that
            warns.
        options: every parameter of ``@dg.asset``, with its own meaning. ``partitions_def`` are time windows over the prediction
            time, by default UTC days from the first day of the spine's partitions on, or else from 2020 on, including today.

    Raises:
        DeclarationError: the declaration is impossible.

    >>> delay_log = prediction_log(name="delay_log", model=delay_net, redact=["passenger"])  # doctest: +SKIP
    """
    what = f"prediction log {checked_name(name, what='prediction log')!r}"
    checked_version(version, what=what)
    partitions_def = options.get("partitions_def")
    if partitions_def is not None and not is_timed(partitions_def):
        raise DeclarationError(
            f"{what}: partitions_def must be time windows, since a row belongs to its prediction time"
        )
    view = model.view
    if clashes := own_columns(view.spine, model.task):
        raise DeclarationError(
            f"{what} has a column {clashes[0]!r} of its own, which is a key or the time of {view.spine.table_name} too: rename that one"
        )
    names = dict.fromkeys([*view.spine.keys, *(view.spine.columns or {}), *view.feature_names])
    unknown = [one for one in redact if one not in names]
    if unknown and all(group.columns is not None for group in view.groups):
        raise DeclarationError(
            f"{what} redacts {list_some(unknown)}, which is no field of a request and no feature: name some of {one_of(names)}"
        )
    result = PredictionLog(
        name=name,
        version=version,
        model=model,
        redact=frozenset(redact),
        limits=limits,
        options={**options, "partitions_def": partitions_def or _days(model)},
        to_asset=log_asset,
        to_sensor=log_sensor,
    )
    record_use([model], f"logged_by/{result.asset_name}", result)
    return result


def _days(model: Servable) -> dg.TimeWindowPartitionsDefinition:
    """UTC days, with the one of today, which others would begin only when it is over."""
    of_spine = model.view.spine.partitions_def
    first = f"{of_spine.start:%Y-%m-%d}" if is_timed(of_spine) else _FIRST_DAY
    return dg.DailyPartitionsDefinition(start_date=first, end_offset=1)
