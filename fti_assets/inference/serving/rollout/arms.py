"""A champion with other builds beside it: each request is answered by the build of its arm."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from time import perf_counter
from typing import Any

import numpy as np

from fti_assets.core.rollouts.rollout import CHAMPION, Rollout, missing_fields
from fti_assets.errors import PredictionError, one_of
from fti_assets.inference.serving.answers.prediction import Explain, Prediction, Predictions
from fti_assets.inference.serving.requests.overrides import OtherValues
from fti_assets.inference.serving.served_build import ServedBuild


class ServedArms(ServedBuild):
    """The champion, asked as itself, that leaves some requests to other builds.

    Every request is read by the champion first: what is wrong with it is told the same way whatever its arm would be.

    Args:
        champion: the build that answers the rest.
        rollout: which keys the others answer.
        builds: the others by arm; those that could not be loaded are left out, and the champion answers for them.

    Raises:
        PredictionError: a build takes a field that the champion's requests do not bring.
    """

    rollout: Rollout

    def __init__(self, champion: ServedBuild, rollout: Rollout, builds: Mapping[str, ServedBuild]) -> None:
        # Whoever asks for fields, manifest or graph means the champion's, and requests are read with its form.
        self.__dict__.update(champion.__dict__)
        self.champion = champion
        self.rollout = rollout
        self.builds = dict(builds)
        for name, build in builds.items():
            self.check_fields(name, build)
        self._fields_of = {name: [column.name for column in build.fields] for name, build in builds.items()}
        places = {column.name: place for place, column in enumerate(champion.fields)}
        if unknown := [name for name in rollout.key if name not in places]:
            raise PredictionError(
                f"the rollout of model {champion.manifest.model!r} goes by the field {unknown[0]!r}, which its requests do not have"
            )
        self._key = [places[name] for name in rollout.key]

    @property
    def alone(self) -> ServedBuild:
        return self.champion

    def check_fields(self, name: str, build: ServedBuild) -> None:
        """Refuse a build as an arm that takes what requests do not bring.

        Raises:
            PredictionError: it does.
        """
        if lacks := missing_fields(self.champion.fields, build.fields):
            raise PredictionError(
                f"arm {name!r} of model {self.champion.manifest.model!r} takes the fields {one_of(lacks)}, which the requests to its "
                f"champion {self.champion.reference} do not bring"
            )

    def predict(
        self,
        requests: Sequence[Mapping[str, Any]],
        at: datetime,
        marks: list[float] | None = None,
        *,
        overrides: OtherValues | None = None,
        explain: Explain = False,
    ) -> list[Prediction]:
        predictions: list[Any] = [None] * len(requests)
        start = perf_counter()
        looked_up = ran = 0.0
        for name, build, places, of_arm in self._parts(requests):
            of_part: list[float] = [perf_counter()]
            answers = build.predict(of_arm, at, of_part, overrides=_overrides_of(overrides, places), explain=explain)
            looked_up += of_part[1] - of_part[0]
            ran += of_part[2] - of_part[1]
            for place, prediction in zip(places, answers, strict=True):
                prediction.arm = name
                predictions[place] = prediction
        if marks is not None:
            marks += [start + looked_up, start + looked_up + ran]
        return predictions

    def predict_columns(
        self, columns: Mapping[Any, list[Any]], at: datetime, *, overrides: OtherValues | None = None
    ) -> Predictions:
        names = [column.name for column in self.fields]
        rows = zip(*self._form.read_columns(columns), strict=True)
        answers = self.predict([dict(zip(names, row, strict=True)) for row in rows], at, overrides=overrides)
        return _in_columns(answers, at, self)

    def features(
        self, requests: Sequence[Mapping[str, Any]], at: datetime, *, overrides: OtherValues | None = None
    ) -> list[dict[str, Any]]:
        features: list[Any] = [None] * len(requests)
        for _, build, places, of_arm in self._parts(requests):
            for place, row in zip(
                places, build.features(of_arm, at, overrides=_overrides_of(overrides, places)), strict=True
            ):
                features[place] = row
        return features

    def shadow(
        self, requests: Sequence[Mapping[str, Any]]
    ) -> list[tuple[str, ServedBuild, list[int], Sequence[Mapping[str, Any]]]]:
        """What the shadow would be asked: its name and build, the places of the requests, and the requests."""
        return [] if self.rollout.kind != "shadow" else [one for one in self._by_arm(requests) if one[0] != CHAMPION]

    def _parts(
        self, requests: Sequence[Mapping[str, Any]]
    ) -> list[tuple[str, ServedBuild, list[int], Sequence[Mapping[str, Any]]]]:
        if self.rollout.kind == "shadow":
            return [(CHAMPION, self.champion, list(range(len(requests))), requests)]
        return self._by_arm(requests)

    def _by_arm(
        self, requests: Sequence[Mapping[str, Any]]
    ) -> list[tuple[str, ServedBuild, list[int], Sequence[Mapping[str, Any]]]]:
        if len(requests) == 1:
            row = self._form.read(requests[0])
            keys = [[row[i] for i in self._key]]
        else:
            columns = self._form.read_all(requests)
            keys = [[columns[i][place] for i in self._key] for place in range(len(requests))]
        places: dict[str, list[int]] = {}
        for place, key in enumerate(keys):
            arm = self.rollout.arm_of(key)
            places.setdefault(arm.name if arm is not None and arm.name in self.builds else CHAMPION, []).append(place)
        parts: list[tuple[str, ServedBuild, list[int], Sequence[Mapping[str, Any]]]] = []
        for name, of_arm in places.items():
            if name == CHAMPION:
                parts.append((name, self.champion, of_arm, [requests[place] for place in of_arm]))
            else:
                fields = self._fields_of[name]
                of_build = [{field: requests[place][field] for field in fields} for place in of_arm]
                parts.append((name, self.builds[name], of_arm, of_build))
        return parts


def _overrides_of(overrides: OtherValues | None, places: Sequence[int]) -> OtherValues | None:
    """The overrides of some requests."""
    return overrides if overrides is None or isinstance(overrides, Mapping) else [overrides[i] for i in places]


def _in_columns(answers: Sequence[Prediction], at: datetime, serving: ServedBuild) -> Predictions:
    """Answers of several builds in columns; a feature or group that a build does not have is missing in its rows."""

    def names(part: str) -> list[str]:
        return list(dict.fromkeys(name for answer in answers for name in getattr(answer, part)))

    classes = serving.manifest.classes if serving.manifest.answers_by_name else ()
    values = [list(one.value.values()) if isinstance(one.value, dict) else one.value for one in answers]
    shape = (len(answers), len(classes)) if classes else (len(answers),)
    ages = {
        group: np.array([np.nan if (age := one.ages.get(group)) is None else age for one in answers], dtype=np.float64)
        for group in names("ages")
    }
    marks = {
        part: {name: np.array([name in getattr(one, part) for one in answers]) for name in names(part)}
        for part in ("missing", "unknown", "out_of_schema", "overridden")
    }
    return Predictions(
        np.array(values, dtype=np.float32).reshape(shape),
        {name: [one.features.get(name) for one in answers] for name in names("features")},
        marks["missing"],
        at,
        serving.manifest.model,
        serving.reference,
        marks["unknown"],
        marks["out_of_schema"],
        ages,
        marks["overridden"],
        tuple(classes),
        arms=np.array([one.arm for one in answers], dtype=object),
        builds=np.array([one.build for one in answers], dtype=object),
    )
