"""Which trials end early: optuna's pruners, by names of ours and arguments of theirs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fti_assets.errors import DeclarationError, ModelError, excerpt, one_of

Pruning = str | Mapping[str, Any]
"""The name of a pruner, or a mapping of ``name`` and arguments."""

NONE = "none"
FEWEST_BEFORE_PRUNING = 5


@dataclass(frozen=True)
class _Kind:
    """A pruner: optuna's class, what it may be given, what it must be, and what it is given if nothing is said."""

    optuna: str
    takes: tuple[str, ...]
    needs: tuple[str, ...] = ()
    always: tuple[tuple[str, Any], ...] = ()


_MEDIAN = ("n_startup_trials", "n_warmup_steps", "interval_steps", "n_min_trials")

PRUNERS: Mapping[str, _Kind] = {
    NONE: _Kind("NopPruner", ()),
    "median": _Kind("MedianPruner", _MEDIAN, always=(("n_startup_trials", FEWEST_BEFORE_PRUNING),)),
    "percentile": _Kind("PercentilePruner", ("percentile", *_MEDIAN), needs=("percentile",)),
    # What optuna would guess of the trials so far is stated, or a study that goes on would guess another.
    "halving": _Kind(
        "SuccessiveHalvingPruner",
        ("min_resource", "reduction_factor", "min_early_stopping_rate"),
        always=(("min_resource", 1),),
    ),
    "hyperband": _Kind(
        "HyperbandPruner", ("max_resource", "min_resource", "reduction_factor"), needs=("max_resource",)
    ),
    "threshold": _Kind("ThresholdPruner", ("lower", "upper", "n_warmup_steps", "interval_steps")),
    "patient": _Kind(
        "PatientPruner", ("patience", "min_delta"), needs=("patience",), always=(("wrapped_pruner", None),)
    ),
    "wilcoxon": _Kind("WilcoxonPruner", ("p_threshold", "n_startup_steps")),
}
"""Each by the name that ``fti.Tuning(pruning=)`` takes."""


def check_pruning(pruning: Pruning, *, what: str) -> None:
    """Refuse what names no pruner, or gives one what it does not take.

    Raises:
        DeclarationError: it says which.

    >>> check_pruning({"name": "percentile", "percentile": 25.0}, what="fti.Tuning")
    """
    name, arguments = _parts(pruning)
    wrong = f"{what} has pruning={excerpt(pruning)}"
    if not isinstance(name, str) or name not in PRUNERS:
        raise DeclarationError(
            f"{wrong}: it is {one_of(PRUNERS)}, or such as {{'name': 'percentile', 'percentile': 25.0}} with arguments of optuna's pruner"
        )
    kind = PRUNERS[name]
    if strange := [one for one in arguments if one not in kind.takes]:
        raise DeclarationError(
            f"{wrong}: {name!r} takes {one_of(kind.takes) if kind.takes else 'no arguments'}, not {one_of(strange)}"
        )
    if lacking := [one for one in kind.needs if one not in arguments]:
        raise DeclarationError(f"{wrong}: {name!r} needs {one_of(lacking)}")
    if name == "threshold" and not {"lower", "upper"} & {*arguments}:
        raise DeclarationError(f"{wrong}: 'threshold' needs 'lower' or 'upper'")
    if no_numbers := [
        one for one, value in arguments.items() if isinstance(value, bool) or not isinstance(value, int | float)
    ]:
        raise DeclarationError(f"{wrong}: {one_of(no_numbers)} is no number")


def pruning_text(pruning: Pruning) -> str:
    """As a study keeps it.

    >>> pruning_text("median"), pruning_text({"name": "halving", "reduction_factor": 2})
    ('median', 'halving, reduction_factor=2')
    """
    name, arguments = _parts(pruning)
    return ", ".join([str(name), *(f"{one}={value}" for one, value in arguments.items())])


def new_pruner(optuna: Any, pruning: Pruning) -> Any:
    """Optuna's pruner.

    Raises:
        ModelError: optuna refuses the arguments.
    """
    name, arguments = _parts(pruning)
    kind = PRUNERS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some are experimental: the lock of versions says which optuna it is
        try:
            return getattr(optuna.pruners, kind.optuna)(**{**dict(kind.always), **arguments})
        except (TypeError, ValueError) as error:
            raise ModelError(f"fti.Tuning(pruning={pruning_text(pruning)!r}) is refused by optuna: {error}") from error


def _parts(pruning: Pruning) -> tuple[Any, dict[str, Any]]:
    if isinstance(pruning, Mapping):
        return pruning.get("name"), {str(one): value for one, value in pruning.items() if one != "name"}
    return pruning, {}
