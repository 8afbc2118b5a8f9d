"""What ``dg scaffold defs`` writes from ``templates/``: a defs.yaml that loads at once, and a Python file to start from."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, ClassVar

import dagster as dg
from pydantic import BaseModel, Field

from fti_assets.core import clock
from fti_assets.errors import DeclarationError


class _Scaffolder(dg.Scaffolder[Any]):  # type: ignore[misc]
    """Writes the templates of a name, ``$name`` in them taken from the folder."""

    template: ClassVar[str]
    parameters: ClassVar[type[BaseModel] | None] = None

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
        templates = resources.files(__package__) / "templates"
        text = Template((templates / f"{self.template}.yaml.tmpl").read_text(encoding="utf-8")).substitute(values)
        if request.append:
            request.target_path.write_text(f"{request.target_path.read_text().rstrip()}\n---\n{text}")
        else:
            (folder / "defs.yaml").write_text(text)
        code, python = folder / f"{name}.py", templates / f"{self.template}.py.tmpl"
        if python.is_file() and not code.exists():
            code.write_text(Template(python.read_text(encoding="utf-8")).substitute(values))


class FeatureGroupScaffolder(_Scaffolder):
    """A daily group of a few entities, seen each hour."""

    template = "feature_group"


class ViewParameters(BaseModel):
    """What a new view rests on."""

    spine: str = Field(description="the group whose rows are predicted for")
    label_group: str = Field(description="the group that holds the label")
    label_column: str = Field(description="the column that a model learns to predict")


class FeatureViewScaffolder(_Scaffolder):
    """A view of the spine's own columns, and its dataset."""

    template = "feature_view"
    parameters = ViewParameters


class ModelParameters(BaseModel):
    """What a new model learns from."""

    dataset: str = Field(description="the view or dataset that the model learns from")
    task: str = Field(default="binary", description="binary or regression")


class ModelScaffolder(_Scaffolder):
    """A small network, trained with Adam."""

    template = "model"
    parameters = ModelParameters


class PredictionsParameters(BaseModel):
    """What new predictions rest on."""

    model: str = Field(description="the model whose answers they are")


class PredictionsScaffolder(_Scaffolder):
    """Daily predictions."""

    template = "predictions"
    parameters = PredictionsParameters


class CompositeParameters(BaseModel):
    """What a new composite is made of."""

    models: str = Field(description="the models that answer together, with commas between their names")


class CompositeScaffolder(_Scaffolder):
    """Models that answer side by side."""

    template = "composite"
    parameters = CompositeParameters


class PredictionLogScaffolder(_Scaffolder):
    """A log of all that is answered, by day."""

    template = "prediction_log"
    parameters = PredictionsParameters


class ExperimentParameters(BaseModel):
    """What a new experiment compares."""

    model: str = Field(description="the model whose rollouts are judged")
    log: str = Field(description="the model's prediction log")
    metric: str = Field(
        description="log_loss, brier or accuracy of a binary model, log_loss or accuracy of classes, mae of a regression"
    )


class ExperimentScaffolder(_Scaffolder):
    """A comparison that is decided once, at a thousand keys an arm."""

    template = "experiment"
    parameters = ExperimentParameters


class MonitorParameters(BaseModel):
    """What a new monitor watches."""

    predictions: str = Field(
        description="the batch predictions that are watched; in the file, log: in their place watches a log"
    )


class MonitorScaffolder(_Scaffolder):
    """The rules that a monitor has by default, written out."""

    template = "monitor"
    parameters = MonitorParameters


class ParityParameters(BaseModel):
    """What a new parity compares."""

    log: str = Field(description="the prediction log whose answers are compared")


class ParityScaffolder(_Scaffolder):
    """Up to a thousand requests a day."""

    template = "parity"
    parameters = ParityParameters


class AlertsScaffolder(_Scaffolder):
    """Warnings and failures, told to the log."""

    template = "alerts"
