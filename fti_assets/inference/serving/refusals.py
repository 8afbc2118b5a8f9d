"""What is refused of a request that could be answered: strange values, groups without a row, numbers that merge."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields
from typing import Any, Literal

from fti_assets.core.records import record
from fti_assets.errors import PredictionError, RequestError, excerpt
from fti_assets.inference.serving.answers.layout import AnswerLayout
from fti_assets.inference.serving.requests.form import RequestForm
from fti_assets.inference.serving.requests.overrides import Override
from fti_assets.inference.serving.rows.online_features import OnlineFeatures
from fti_assets.inference.serving.rows.slots import Row

UnknownKeys = Literal["missing", "error"]
OnMissing = Literal["impute", "error"]
Report = Literal["report", "error"]


@record(frozen=True)
class Strictness:
    """What is refused of a request that could be answered: each is "error", or what else is said of it.

    Raises:
        PredictionError: one is neither.
    """

    unknown_keys: UnknownKeys = "missing"
    unknown_categories: Report = "report"
    out_of_schema: Report = "report"
    on_missing: OnMissing = "impute"

    def __post_init__(self) -> None:
        for one in fields(self):
            if (value := getattr(self, one.name)) not in (one.default, "error"):
                raise PredictionError(f"{one.name} is {excerpt(value)}: {one.default!r} or 'error' is expected")


class Refusals:
    """The refusals of one build.

    Args:
        strictness: which of them there are.
        form: of its requests.
        layout: where its features are in a row.
        online: its groups.
        group_slots: of each group, the slots of its features.
        computed_from: the slots by name of what its functions take.
    """

    def __init__(
        self,
        strictness: Strictness,
        form: RequestForm,
        layout: AnswerLayout,
        online: OnlineFeatures,
        group_slots: Sequence[AbstractSet[int]],
        computed_from: Mapping[str, int],
    ) -> None:
        self._strictness = strictness
        self._form = form
        self._layout = layout
        self._online = online
        self._group_slots = group_slots
        self._computed_from = computed_from
        self.of_strangers = "error" in (strictness.unknown_categories, strictness.out_of_schema)
        """Whether a row may be refused for its values."""
        self.of_absence = "error" in (strictness.unknown_keys, strictness.on_missing)
        """Whether a row may be refused for groups that bring nothing to it."""

    def of_inexact(self, error: Any, value: Callable[[int, int], Any], rows: int) -> RequestError:
        """The refusal of numbers that an on-demand function cannot be given exactly, by name and request."""
        problems = [error.problem(name, value(self._computed_from[name], index)) for name, index in error.places]
        if rows > 1:
            problems = [f"request {at}: {text}" for (_, at), text in zip(error.places, problems, strict=True)]
        return self._form.error(problems)

    def without_overridden(
        self, absent: Sequence[tuple[int, int]], row_overrides: Sequence[Override]
    ) -> list[tuple[int, int]]:
        """The rows and groups that bring nothing, without those of which all values were given."""
        return [
            (index, position)
            for index, position in absent
            if not self._group_slots[position] <= row_overrides[index].values.keys()
        ]

    def refuse_strangers(self, rows: Sequence[Row]) -> None:
        """Refuse, if it is asked for, rows of categories that were not learned, and of values that break the schema or get rounded."""
        slots = {column.name: slot for slot, column in enumerate(self._form.columns)}
        categories = {name: slot for name, slot, _ in self._layout.categories}
        whole = dict(self._layout.whole)
        problems = []
        for index, row in enumerate(rows):
            of_row = []
            if self._strictness.unknown_categories == "error":
                of_row += [
                    f"{name!r} is {excerpt(row[categories[name]])}, which the model has not learned"
                    for name in self._layout.unlearned_features(row)
                ]
            if self._strictness.out_of_schema == "error":
                violations = self._layout.rules.broken_by(row)
                of_row += [f"{name!r} is {excerpt(row[slots[name]])}, which its schema refuses" for name in violations]
                of_row += [
                    f"{name!r} is {excerpt(row[whole[name]])}, which the model gets as float64, where whole numbers from 2**53 on "
                    "merge with their neighbours: an id is text"
                    for name in self._layout.rounded_features(row)
                ]
                infinite = {name: row[slot] for name, slot, _ in self._layout.limits}
                of_row += [
                    f"{name!r} is {excerpt(infinite[name])}, which is infinite to the model"
                    for name in self._layout.infinite_features(row)
                ]
            problems += of_row if len(rows) == 1 else [f"request {index}: {problem}" for problem in of_row]
        if problems:
            raise self._form.error(problems)

    def refuse_absence(
        self,
        rows: int,
        row_of: Callable[[int], Sequence[Any]],
        absent: Sequence[tuple[int, int]],
        age_of: Callable[[int, int], float | None],
    ) -> None:
        """Refuse, if it is asked for, rows to which groups bring nothing: each row and group by their positions, in order."""
        if self._strictness.unknown_keys == "error":
            problems = []
            for index, position in absent:
                problem = self._online.unknown(position, row_of(index))
                if problem is not None:
                    problems.append(problem if rows == 1 else f"request {index}: {problem}")
            if problems:
                raise self._form.error(problems)
        if self._strictness.on_missing == "error" and absent:
            problems = []
            for index, position in absent:
                problem = self._online.groups[position].nothing_brought(row_of(index), age_of(index, position))
                problems.append(problem if rows == 1 else f"request {index}: {problem}")
            raise self._form.error(problems)
