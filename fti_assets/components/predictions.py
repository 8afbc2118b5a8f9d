"""Batch predictions in YAML, with their sinks, the log of what servers answered, and experiments on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import dagster as dg
from pydantic import Field

import fti_assets as fti
from fti_assets.components.attributes import AssetAttributes, RowSchema
from fti_assets.components.declaring import ComponentTree, DeclaringComponent
from fti_assets.components.model import MODELS, SERVABLE
from fti_assets.components.reference import construct, or_variable
from fti_assets.components.scaffold import ExperimentScaffolder, PredictionLogScaffolder, PredictionsScaffolder
from fti_assets.core.names import versioned_name
from fti_assets.errors import DeclarationError
from fti_assets.experiments.experiment import Experiment
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.stores.sinks.sink import Sink
from fti_assets.training.composites.composite import Composite
from fti_assets.training.models.model import Model

_SINKS = ("stores.sinks.function", "stores.sinks.parquet", "stores.sinks.postgres")


@dg.scaffold_with(PredictionsScaffolder)
class PredictionsComponent(AssetAttributes, DeclaringComponent):
    """Batch predictions: an answer for each spine row. The attributes are those of ``fti.batch_predictions``.

    Args:
        name: the name of the predictions.
        model: whose answers they are, a model or a composite by its name; a list of names for several.
        top: ``{k: 10, by: listener_id}``, the arguments of ``fti.TopK``.
        sinks: where they go beside the lake: ``{type: ParquetSink, folder: exports}``, ``{type: PostgresSink, dsn: {env: SHOP_DSN}}`` with
            the environment's variable of the connection string, ``{type: FunctionSink, function: "crm.py:push"}``.
        schema: the path of a Pandera model of the rows.
        engine: ``duckdb``, ``spark`` or ``auto``.
    """

    name: str
    answering: str | Sequence[str] = Field(alias="model")
    version: int = 1
    top: Mapping[str, Any] | None = None
    sinks: Sequence[Mapping[str, Any]] = ()
    row_schema: RowSchema
    catch_up: int | None = None
    engine: str | None = None
    online: bool = False
    online_history: str | None = None

    summary = "Batch predictions: a model's answer for each row of its view's spine."

    def __repr_args__(self) -> Any:
        """What ``repr`` shows: of a sink its type, for a connection string may hold a password."""
        types = [dict(one).get("type") for one in self.sinks]
        return [(name, types if name == "sinks" else value) for name, value in super().__repr_args__()]

    def names(self) -> Sequence[str]:
        """``delay_predictions`` and ``delay_predictions_v1``."""
        return self.name, versioned_name(self.name, self.version)

    def declare(self, tree: ComponentTree) -> BatchPredictions:
        """The predictions."""
        what = f"predictions {self.name!r}"
        return fti.batch_predictions(
            name=self.name,
            version=self.version,
            model=self._model(tree, self.answering)
            if isinstance(self.answering, str)
            else [self._model(tree, name) for name in self.answering],
            top=None
            if self.top is None
            else construct(
                {"type": "TopK", **self.top}, self._context, module="inference.batch.top", what=f"top of {what}"
            ),
            sinks=[self._sink(terms, what=f"a sink of {what}") for terms in self.sinks],
            schema=self.python(self.row_schema, what="schema"),
            catch_up=self.catch_up,
            engine=cast("Any", self.engine),
            online=self.online,
            online_history=self.online_history,
            **self.options(),
        )

    def _model(self, tree: ComponentTree, name: str) -> Model | Composite:
        return self.look_up(tree, SERVABLE, name, what=f"model of predictions {self.name!r}")

    def _sink(self, terms: Mapping[str, Any], *, what: str) -> Sink:
        arguments = dict(terms)
        if isinstance(function := arguments.get("function"), str):
            arguments["function"] = self.python(function, what=f"function of {what}")
        if "dsn" in arguments:
            arguments["dsn"] = or_variable(arguments["dsn"], what=f"dsn of {what}", example="dsn: {env: SHOP_DSN}")
        sink = construct(arguments, self._context, module=_SINKS, what=what)
        if not isinstance(sink, Sink):
            raise DeclarationError(f"{what} is {sink!r}, which is not a Sink")
        return sink


class ServiceLimitsAttributes(dg.Resolvable, dg.Model):  # type: ignore[misc]
    """What a service may come to; the attributes are those of ``fti.ServiceLimits``."""

    error_rate: float | None = None
    missing_rate: float | None = None
    unknown_rate: float | None = None
    out_of_schema_rate: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_share: float | None = None
    peak_memory_mb: float | None = None
    min_requests: int = 100


@dg.scaffold_with(PredictionLogScaffolder)
class PredictionLogComponent(AssetAttributes, DeclaringComponent):
    """The log of what servers and apps answered, with the sensor that takes it in. The attributes are those of ``fti.prediction_log``.

    Args:
        name: the name of the log.
        model: whose answers are logged, a model or a composite by its name.
        redact: request fields and features that no table may hold in clear.
        limits: what the service may come to in a partition, such as ``{error_rate: 0.01, p99_ms: 50}``.
    """

    name: str
    answering: str = Field(alias="model")
    version: int = 1
    redact: Sequence[str] = ()
    limits: ServiceLimitsAttributes | None = None

    summary = "A prediction log: what servers answered, with request, features, build and arm."

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What ``dg list components`` says."""
        return dg.ComponentTypeSpec(description=cls.summary, produces=["asset", "asset_check", "sensor"])

    def names(self) -> Sequence[str]:
        """``delay_log`` and ``delay_log_v1``."""
        return self.name, versioned_name(self.name, self.version)

    def declare(self, tree: ComponentTree) -> PredictionLog:
        """The log."""
        return fti.prediction_log(
            name=self.name,
            version=self.version,
            model=self.look_up(tree, SERVABLE, self.answering, what=f"model of prediction log {self.name!r}"),
            redact=self.redact,
            limits=self.limits and fti.ServiceLimits(**dict(self.limits)),
            **self.options(),
        )

    def sensors_of(self, declaration: PredictionLog) -> Sequence[dg.SensorDefinition]:
        """What sees that files wait."""
        return [declaration.sensor]


@dg.scaffold_with(ExperimentScaffolder)
class ExperimentComponent(AssetAttributes, DeclaringComponent):
    """An experiment: the arms of a model's rollout, compared. The attributes are those of ``fti.experiment``.

    Args:
        name: the name of the experiment.
        model: whose rollouts are judged, by its name.
        log: the model's prediction log, by its name.
        metric: ``log_loss``, ``brier``, ``accuracy`` or ``mae``, as the task has it; or ``outcome``, with ``better``.
    """

    name: str
    judging: str = Field(alias="model")
    log: str
    metric: str
    better: Literal["higher", "lower"] | None = None
    version: int = 1
    least_keys: int = 1_000
    looks: int = 1
    at_least: float = 0.0
    confidence: float = 0.95
    least_share: float = 0.05

    summary = "An experiment: the arms of a rollout compared by what became of their answers, with a verdict."

    def names(self) -> Sequence[str]:
        """``delay_arms`` and ``delay_arms_v1``."""
        return self.name, versioned_name(self.name, self.version)

    def declare(self, tree: ComponentTree) -> Experiment:
        """The experiment."""
        what = f"experiment {self.name!r}"
        return fti.experiment(
            name=self.name,
            version=self.version,
            model=self.look_up(tree, MODELS, self.judging, what=f"model of {what}"),
            log=self.look_up(tree, {PredictionLogComponent: PredictionLog}, self.log, what=f"log of {what}"),
            metric=self.metric,
            better=self.better,
            least_keys=self.least_keys,
            looks=self.looks,
            at_least=self.at_least,
            confidence=self.confidence,
            least_share=self.least_share,
            **self.options(),
        )
