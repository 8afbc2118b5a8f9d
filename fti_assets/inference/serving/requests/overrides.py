"""What-if: values that a caller gives in place of those that groups and on-demand functions bring."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fti_assets.core.manifest import Column, JoinedGroup, OnDemandCall
from fti_assets.core.types import SIDES, ColumnType
from fti_assets.errors import FtiError, excerpt, list_some
from fti_assets.inference.serving.requests.form import RequestForm, all_problems, is_mapping, kind, unreadable
from fti_assets.inference.serving.requests.values import Reason, converter
from fti_assets.inference.serving.rows.columns import Columns
from fti_assets.inference.serving.rows.slots import Slots

OtherValues = Mapping[str, Any] | Sequence[Mapping[str, Any] | None]


class Override(NamedTuple):
    """The values of one row that are given, by the slot where each stands, and their names."""

    values: Mapping[int, Any]
    names: tuple[str, ...]


NONE = Override({}, ())


class Overrides:
    """What may be overridden in a view: each joined feature and each output of an on-demand function.

    A joined feature is named as the view has it, or by its group and column as ``weather.wind``.
    """

    def __init__(
        self,
        joins: Sequence[JoinedGroup],
        labels: Sequence[str],
        calls: Sequence[OnDemandCall],
        slots: Slots,
        form: RequestForm,
        dims: Mapping[str, int],
    ) -> None:
        self._form = form
        self._dims = dims
        self._names: dict[str, list[str]] = {}
        self._slots: dict[str, tuple[int, ColumnType]] = {}
        for join, label in zip(joins, labels, strict=True):
            for column in join.columns:
                groups = dict.fromkeys((label, join.table_name, join.group))
                self._add(column.feature, slots, [f"{group}.{column.column}" for group in groups])
        for call in calls:
            for output in call.outputs:
                self._add(output.name, slots, [f"{call.name}.{output.name}"])

    @property
    def columns(self) -> tuple[Column, ...]:
        """What may be overridden, with its types, in order."""
        return tuple(Column(name, column_type) for name, (_, column_type) in self._slots.items())

    @property
    def features(self) -> tuple[str, ...]:
        """The features that may be overridden, in order."""
        return tuple(self._slots)

    def read(self, other: OtherValues | None, rows: int) -> list[Override]:
        """What is given for each of ``n`` rows: one mapping is for all of them, a list has one a row.

        Raises:
            RequestError: a name cannot be overridden, or a value is not of its type; it lists everything that is wrong.
        """
        if other is None:
            return [NONE] * rows
        try:
            return self._of_rows(other, rows)
        except FtiError:
            raise
        except Exception as error:  # whatever a client's value raises when it is looked at
            raise self._form.error([f"overrides: {unreadable(other, error)}: plain values are expected"]) from None

    def _of_rows(self, other: OtherValues, rows: int) -> list[Override]:
        if is_mapping(other):
            assert isinstance(other, Mapping)
            problems = list(self._problems(other))
            if not problems:
                return [self._read(other)] * rows
        elif isinstance(other, str | bytes) or not isinstance(other, Sequence) or len(other) != rows:
            problems = [
                f"overrides are {excerpt(other)}: a mapping of feature to value, or a list of one for each of the {rows} requests, "
                "is expected"
            ]
        else:
            problems = [
                f"request {index}: {problem}"
                for index, one in enumerate(other)
                if one is not None
                for problem in self._problems(one)
            ]
            if not problems:
                return [NONE if one is None else self._read(one) for one in other]
        raise self._form.error(problems)

    def _add(self, feature: str, slots: Slots, aliases: Sequence[str]) -> None:
        self._slots[feature] = (slots.of(feature), slots.types[feature])
        self._names[feature] = [feature]
        for alias in aliases:
            if alias not in self._slots and feature not in self._names.setdefault(alias, []):
                self._names[alias].append(feature)

    def _read(self, other: Mapping[str, Any]) -> Override:
        values = {}
        names = []
        for name, value in other.items():
            [feature] = self._names[name]
            slot, column_type = self._slots[feature]
            values[slot] = converter(Column(feature, column_type), self._dims)(value)
            names.append(feature)
        order = list(self._slots)
        return Override(values, tuple(sorted(names, key=order.index)))

    def _problems(self, other: Any) -> Iterator[str]:
        yield from all_problems(self._look, other)

    def _look(self, other: Any) -> Iterator[str]:
        if not is_mapping(other):
            yield f"overrides are {excerpt(other)}, {kind(other)}, where a mapping of feature to value is expected"
            return
        name_of: dict[str, str] = {}
        for name, value in other.items():
            features = self._names.get(name, []) if isinstance(name, str) else []
            if len(features) != 1:
                yield self._unknown(name, features)
                continue
            [feature] = features
            if feature in name_of:
                yield f"{excerpt(name)} and {name_of[feature]!r} override the same feature"
            name_of[feature] = name
            expectation = SIDES[self._slots[feature][1]].request_form
            try:
                converter(Column(feature, self._slots[feature][1]), self._dims)(value)
            except Exception as problem:  # whatever a client's value raises when it is looked at
                reason = f" ({problem})" if isinstance(problem, Reason) else ""
                yield f"the override {excerpt(name)} is {excerpt(value)}, {kind(value)}, {expectation} is expected{reason}"

    def _unknown(self, name: Any, features: Sequence[str]) -> str:
        if features:
            return f"the override {excerpt(name)} is of several joins: name one of the features {list_some(features)}"
        if name in {column.name for column in self._form.columns}:
            return f"the override {excerpt(name)} is a field of the request: give it there"
        import difflib  # only who has something wrong waits for it

        close = difflib.get_close_matches(excerpt(name).strip("'"), list(self._names), n=1, cutoff=0.6)
        advice = f"did you mean {close[0]!r}? " if close else ""
        return f"the override {excerpt(name)} is no looked-up or computed feature: {advice}There are {list_some(list(self._slots), 20)}"


def put_overrides(columns: Columns, row_overrides: Sequence[Override]) -> None:
    """Put given values in place of those that the columns have by now."""
    for index, override in enumerate(row_overrides):
        for slot, value in override.values.items():
            if slot < columns.width:
                columns.put(index, slot, value)
