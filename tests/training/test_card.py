"""What a declaration says a model is for, and what may stand in the lists and tables of its card."""

import numpy as np
import pytest

import fti_assets as fti
from fti_assets.core.manifest import Column
from fti_assets.errors import DeclarationError, ModelError
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.kinds.scales import FittedPassthrough
from fti_assets.training.model_checks import checked_limits, checked_use
from fti_assets.training.models.card import table
from fti_assets.training.models.data import TrainingData


def test_a_limit_of_several_lines_is_one_item() -> None:
    assert checked_limits(["Not for children,\n  nor for groups.", "No  nights."], what="model 'm'") == (
        "Not for children, nor for groups.",
        "No  nights.",
    )


@pytest.mark.parametrize("blank", [" ", "\n", "\t "])
def test_blank_purposes_are_refused(blank: str) -> None:
    with pytest.raises(DeclarationError, match="model 'm' has a blank intended_use"):
        checked_use(blank, what="model 'm'")
    with pytest.raises(DeclarationError, match="model 'm' has limits of which number 2 is blank"):
        checked_limits(["Not for children.", blank], what="model 'm'")
    assert checked_use(None, what="model 'm'") == ""


def test_a_cell_stays_within_its_row() -> None:
    assert table(("zone", "rows"), [("old\ntown|east", 3)]).splitlines()[2:] == ["| old town\\|east | 3 |"]


def test_a_wrong_class_is_told_with_the_model() -> None:
    columns, labels = {"x": np.arange(4.0)}, np.array(["a", "b", "a", "b"])
    with pytest.raises(ModelError, match="model 'm' has a weight for the class 'late': its classes are 'a' or 'b'"):
        TrainingData(
            [Column("x", "number")],
            {"x": FittedPassthrough()},
            dict.fromkeys(SPLITS, columns),
            dict.fromkeys(SPLITS, labels),
            task="multiclass",
            weights=fti.ClassWeights({"late": 2.0}),
            what="model 'm'",
        )
