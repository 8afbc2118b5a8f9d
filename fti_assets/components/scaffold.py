"""What ``dg scaffold defs`` writes: a defs.yaml that loads at once, and a Python file to start from."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from fti_assets.core import clock
from fti_assets.errors import DeclarationError


class _Scaffolder(dg.Scaffolder[Any]):  # type: ignore[misc]
    """Writes the templates, ``$name`` taken from the folder."""

    yaml: str
    python: str | None = None
    parameters: type[BaseModel] | None = None

    @classmethod
    def get_scaffold_params(cls) -> Any:
        """What the command takes."""
        return cls.parameters or super().get_scaffold_params()

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the files."""
        if request.scaffold_format != "yaml":
            raise DeclarationError(
                f"{request.type_name} is scaffolded as YAML: leave out --format; in Python, use the declarations of fti_assets"
            )
        folder: Path = request.target_path.parent if request.append else request.target_path
        name = re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_")
        name = f"n{name}" if name[:1].isdigit() else name
        values = {
            "type": request.type_name,
            "name": name,
            "Name": "".join(part.capitalize() for part in name.split("_")),
            "start": f"{clock.now().year - 1}-01-01",
            **request.params.model_dump(),
        }
        text = Template(self.yaml).substitute(values)
        if request.append:
            request.target_path.write_text(f"{request.target_path.read_text().rstrip()}\n---\n{text}")
        else:
            (folder / "defs.yaml").write_text(text)
        code = folder / f"{name}.py"
        if self.python is not None and not code.exists():
            code.write_text(Template(self.python).substitute(values))


class FeatureGroupScaffolder(_Scaffolder):
    """A daily group of a few entities, seen each hour."""

    yaml = """\
type: $type

attributes:
  function: $name.py:$name
  name: $name
  version: 1
  keys: [entity_id]
  event_time: observed_at
  schema: $name.py:${Name}Schema
  partitions_def:
    type: daily
    start_date: "$start"
"""
    python = '''\
"""The feature group `$name`: replace the example's rows and columns by your own."""

import dagster as dg
import pandas as pd
import pandera.pandas as pa


class ${Name}Schema(pa.DataFrameModel):
    """What each row holds; checked before anything is stored."""

    entity_id: int
    observed_at: pd.Timestamp
    ${name}_value: float = pa.Field(nullable=True)


def $name(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """The rows of the days that are run: one, or all of a backfill.

    Where each day has a file, read those: ``fti_assets.read_files(context, "landing/$name/{partition}.parquet").df()``.
    """
    window = context.partition_time_window
    hours = pd.date_range(window.start, window.end, freq="h", inclusive="left").tz_localize(None)
    return pd.DataFrame(
        {
            "entity_id": [entity for entity in (1, 2, 3) for _ in hours],
            "observed_at": [hour for _ in (1, 2, 3) for hour in hours],
            "${name}_value": [float(entity * hour.hour) for entity in (1, 2, 3) for hour in hours],
        }
    )
'''


class ViewParameters(BaseModel):
    """What a new view rests on."""

    spine: str = Field(description="the group whose rows are predicted for")
    label_group: str = Field(description="the group that holds the label")
    label_column: str = Field(description="the column that a model learns to predict")


class FeatureViewScaffolder(_Scaffolder):
    """A view of the spine's own columns, and its dataset."""

    parameters = ViewParameters
    yaml = """\
type: $type

attributes:
  name: $name
  version: 1
  spine: $spine
  label:
    group: $label_group
    column: $label_column
    within: 1d
  features:
    - group: $spine
    # - group: weather
    #   columns: [temp, wind_speed]
    #   join_on: {dest: airport}
    #   prefix: dest_
    # - on_demand: my_project.on_demand.calendar
  encoders: {}
    # origin: OneHot
    # carrier: {type: Embedding, max_categories: 64}
  dataset:
    name: ${name}_dataset
    split: {validation: 14d, test: 30d}
    partitions_def:
      type: monthly
      start_date: "$start"
      end_offset: 1
"""


class ModelParameters(BaseModel):
    """What a new model learns from."""

    dataset: str = Field(description="the view or dataset that the model learns from")
    task: str = Field(default="binary", description="binary or regression")


class ModelScaffolder(_Scaffolder):
    """A small network, trained with Adam."""

    parameters = ModelParameters
    yaml = """\
type: $type

attributes:
  function: $name.py:$name
  name: $name
  version: 1
  dataset: $dataset
  task: $task
  gates: []
    # - {type: BeatsBaseline, metric: log_loss}
    # - {type: NotWorseThanChampion, metric: roc_auc, tolerance: 0.005}
"""
    python = '''\
"""The model `$name`: replace the example by your own network, or give a fitted scikit-learn estimator."""

from typing import Any

import fti_assets as fti


def $name(data: fti.TrainingData) -> Any:
    """A linear model of the dense features."""
    from torch import nn

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = nn.Linear(data.dense_dim, 1)

        def forward(self, inputs: dict[str, Any]) -> Any:
            return self.output(inputs["dense"]).squeeze(-1)

    return data.fit(Linear())
'''


class PredictionsParameters(BaseModel):
    """What new predictions rest on."""

    model: str = Field(description="the model whose answers they are")


class PredictionsScaffolder(_Scaffolder):
    """Daily predictions."""

    parameters = PredictionsParameters
    yaml = """\
type: $type

attributes:
  name: $name
  version: 1
  model: $model
  partitions_def:
    type: daily
    start_date: "$start"
"""
