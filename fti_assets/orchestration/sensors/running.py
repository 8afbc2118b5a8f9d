"""The sensors that evaluate a system's automation conditions."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import dagster as dg


def automation_sensors(
    name: str, made: Sequence[dg.AssetKey], answered: Sequence[dg.AssetKey]
) -> Iterator[dg.AutomationConditionSensorDefinition]:
    """One running sensor over features and training, one over predictions, which thus never share a run with a model.

    Args:
        name: the system's name, with which the sensors' names begin.
        made: the keys of feature groups, datasets and models.
        answered: the keys of predictions.
    """
    parts = {
        f"{name}_features_and_training": (made, "Runs what changed data, ended windows and new cutoffs ask for."),
        f"{name}_inference": (answered, "Answers rows that are new, as soon as a build can."),
    }
    for sensor, (keys, description) in parts.items():
        if keys:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Parameter `use_user_code_server`")
                yield dg.AutomationConditionSensorDefinition(
                    sensor,
                    target=dg.AssetSelection.assets(*keys),
                    default_status=dg.DefaultSensorStatus.RUNNING,
                    use_user_code_server=True,
                    description=description,
                )
