"""An experiment: what compares the arms of a model's rollout, and when it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fti_assets.core.names import MONITORING
from fti_assets.core.rules import Rule
from fti_assets.features.groups.columns import Columns, table_column
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitoring.experiments.figures import Figure
from fti_assets.monitoring.experiments.verdict import Terms
from fti_assets.orchestration.declaration import TableDeclaration
from fti_assets.training.models.model import Model

AS_PLANNED = Rule(
    "keys_as_planned", "Each arm has the share of the keys, and of the labels, that its rollout plans", blocking=False
)
VERDICT_OBEYED = Rule(
    "verdict_obeyed", "The rollout that was judged still went on when its verdict was obeyed", blocking=False
)
RULES = (AS_PLANNED, VERDICT_OBEYED)


@dataclass(frozen=True, eq=False, kw_only=True)
class Experiment(TableDeclaration):
    """A declared experiment. Make one with ``experiment``."""

    schema_name: ClassVar[str] = MONITORING

    log: PredictionLog
    figure: Figure
    terms: Terms
    least_share: float

    @property
    def model(self) -> Model:
        """Whose arms it compares."""
        assert isinstance(self.log.model, Model)  # a composite has no label to compare by
        return self.log.model

    @property
    def rests_on(self) -> list[PredictionLog]:
        """The log; the label's group stands behind its model."""
        return [self.log]


def columns_of(experiment: Experiment) -> Columns:
    """The columns of an experiment's table."""
    figure = experiment.figure.name
    columns = [
        table_column("since", "timestamp", "Since when the arms and shares that are judged went on", nullable=False),
        table_column("kind", "text", "What kind of rollout it is", nullable=False),
        table_column("arm", "text", "The arm", nullable=False),
        table_column("build", "text", "Its build", nullable=False),
        table_column("keys", "integer", "Keys with a label, each of which counts once", nullable=False),
        table_column("answers", "integer", "Answers that are old enough to have a label", nullable=False),
        table_column("unlabelled", "integer", "Those of them without one", nullable=False),
        table_column("mean", "number", f"Mean {figure} over keys"),
        table_column("mean_low", "number", "Where that lies: from"),
        table_column("mean_high", "number", "to"),
        table_column("improvement", "number", f"By how much {figure} is better than the champion's: the effect size"),
        table_column("improvement_low", "number", "Where that lies: from"),
        table_column("improvement_high", "number", "to"),
        table_column("planned_share", "number", "Of the keys, as the rollout says"),
        table_column("share", "number", "Of the keys, as it is"),
        table_column("chance", "number", "That the arm is the best one, in a bandit"),
        table_column("is_estimate", "boolean", "Whether the figures decide nothing yet", nullable=False),
        table_column("look", "integer", "At which of the looks the verdict fell, 0 before the first", nullable=False),
        table_column("until", "timestamp", "Prediction time of the last answer that was judged"),
        table_column("verdict", "text", "promote, stop or wait", nullable=False),
        table_column("promoted", "text", "The arm that the verdict promotes"),
        table_column("reason", "text", "Why", nullable=False),
    ]
    return {column.name: column for column in columns}
