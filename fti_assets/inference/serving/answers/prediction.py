"""What a model answers: to one request, and to many in columns."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

import numpy as np

from fti_assets.core.rollouts.rollout import CHAMPION

Explain = bool | Literal["score"]
"""Whether an answer is explained, or its score."""

_new: Any = object.__new__


@dataclass(frozen=True, slots=True)
class Explanation:
    """What each feature contributes to an answer, beside the mean answer to rows that the build keeps.

    ``base`` is that mean, over so many ``rows``; ``base`` and the sum of ``contributions`` are the answer. Of a multiclass model both are
    by class. ``exact`` says that these are the Shapley values themselves, not a sample of orders. Where ``of`` is ``score``, all this is
    said of the score: the log-odds of a probability, of several classes the logarithms of their probabilities less their mean.
    """

    base: float | dict[str, float]
    contributions: dict[str, Any]
    rows: int
    exact: bool
    of: Literal["answer", "score"] = "answer"


class _LateFields:
    """What leaves fields unset and puts them together when they are first read, which few who ask for a value do."""

    __slots__ = ("_answers", "_index")
    _answers: Any
    _index: int

    def __getattr__(self, name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        value = self._tell(name)
        setattr(self, name, value)
        return value

    def _tell(self, name: str) -> Any:
        raise NotImplementedError

    def __getstate__(self) -> Any:
        return None, {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]


_AT_FIRST: dict[str, Any] = {"arm": CHAMPION, "request_id": "", "overridden": (), "explanation": None}
"""What the fields of a prediction are that few set, so that making one does not."""
_LATER = frozenset(["features", "missing", "unknown", "out_of_schema", "ages", *_AT_FIRST])


@dataclass(slots=True)  # not frozen, which takes six times as long to make
class Prediction(_LateFields):
    """One answer.

    ``value`` is the probability (binary), a dict of class to probability (multiclass) or the value (regression);
    ``features`` what the model saw, raw, None where missing; ``missing`` the group tables that brought no row or
    a stale one; ``at`` the prediction time, naive UTC. ``unknown`` names the features with a category that the model
    did not learn, which it treats as missing, and ``out_of_schema`` the fields with a value that the spine's schema would refuse, a
    missing one where it lets none be null, and the features whose whole number the graph gets rounded, as float64.
    ``ages`` says of each group's row how many seconds before ``at`` its event time is, a stale row's too; None without a row, and for
    a lookup. A group that is joined more than once stands there by the spine's columns, as ``airports_v1[dest]``. ``overridden`` names
    what the caller gave in place of the looked-up values, and ``explanation`` is there if it was asked for.
    ``arm`` says as what the build answered; ``request_id`` is what ``fti why`` is asked by, empty where nothing is logged.
    """

    value: float | dict[str, float]
    features: dict[str, Any]
    missing: tuple[str, ...]
    at: datetime
    model: str
    build: str
    unknown: tuple[str, ...] = ()
    out_of_schema: tuple[str, ...] = ()
    ages: dict[str, float | None] = field(default_factory=dict)
    arm: str = CHAMPION
    request_id: str = ""
    overridden: tuple[str, ...] = ()
    explanation: Explanation | None = None

    def _tell(self, name: str) -> Any:
        return _AT_FIRST[name] if name in _AT_FIRST else self._answers.tell(self, name, self._index)


def prediction_of(value: Any, at: datetime, model: str, build: str, answers: Any, index: int) -> Prediction:
    """A prediction whose other fields are told by the answers, of which it has a place."""
    # Without __init__, which takes as long as half the fields' dicts.
    result: Prediction = _new(Prediction)
    result.value = value
    result.at = at
    result.model = model
    result.build = build
    result._answers = answers
    result._index = index  # type: ignore[misc]
    return result


def tell_all(prediction: Prediction) -> None:
    """Put together what a prediction that was just made can tell, without a look at each field whether somebody has changed it."""
    prediction._answers.tell_all(prediction)


def put_unset(prediction: Prediction, name: str, value: Any) -> None:
    """Put a value into a field that neither was told yet nor given by whoever has the prediction."""
    try:
        _FIELDS[name].__get__(prediction)
    except AttributeError:
        setattr(prediction, name, value)


_FIELDS = {one.name: getattr(Prediction, one.name) for one in fields(Prediction)}
"""The slots themselves, which do not ask the answers."""


@dataclass(slots=True, eq=False)
class Predictions(_LateFields):
    """``n`` answers in columns: the same as a list of ``Prediction``, which ``predictions[i]`` and a loop give.

    ``values`` is float32 ``[n]``, of a multiclass model ``[n, k]`` in the order of ``classes``. ``features`` has ``n`` plain values by
    name, None where missing; ``ages`` float64 ``[n]`` by group, NaN where a ``Prediction`` has None. ``missing``, ``unknown``,
    ``out_of_schema`` and ``overridden`` hold bool ``[n]`` by the names that a ``Prediction`` lists, for each name that some row has.
    ``arms`` and ``builds`` have text ``[n]``, and are None where the champion answered all rows.
    """

    values: np.ndarray
    features: dict[str, list[Any]]
    missing: dict[str, np.ndarray]
    at: datetime
    model: str
    build: str
    unknown: dict[str, np.ndarray]
    out_of_schema: dict[str, np.ndarray]
    ages: dict[str, np.ndarray]
    overridden: dict[str, np.ndarray]
    classes: tuple[str, ...] = ()
    request_id: str = ""
    arms: np.ndarray | None = None
    builds: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Prediction:
        value = self.values[index].tolist()
        ages = {group: of_group[index].item() for group, of_group in self.ages.items()}
        return Prediction(
            dict(zip(self.classes, value, strict=True)) if self.classes else value,
            {name: values[index] for name, values in self.features.items()},
            _names_at(self.missing, index),
            self.at,
            self.model,
            self.build if self.builds is None else self.builds[index],
            _names_at(self.unknown, index),
            _names_at(self.out_of_schema, index),
            {group: None if age != age else age for group, age in ages.items()},
            CHAMPION if self.arms is None else self.arms[index],
            self.request_id,
            _names_at(self.overridden, index),
        )

    def __iter__(self) -> Iterator[Prediction]:
        return (self[index] for index in range(len(self)))

    def _tell(self, name: str) -> Any:
        return getattr(self._answers, f"all_{name}")()


def _names_at(marks: dict[str, np.ndarray], index: int) -> tuple[str, ...]:
    return tuple(name for name, mark in marks.items() if mark[index])


def predictions_of(
    values: np.ndarray, at: datetime, model: str, build: str, classes: tuple[str, ...], answers: Any
) -> Predictions:
    """Predictions whose other fields are told by the answers."""
    result: Predictions = _new(Predictions)
    result.values = values
    result.at = at
    result.model = model
    result.build = build
    result.classes = classes
    result.request_id = ""
    result.arms = result.builds = None
    result._answers = answers
    return result
