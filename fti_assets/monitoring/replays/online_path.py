"""The online path, asked as of the past: the build that answered, on the online store as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fti_assets.core.manifest import ModelManifest
from fti_assets.errors import DamagedError, FtiError, NotMaterializedError, PredictionError
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.monitoring.replays.past_request import PastRequest, Uncompared
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import OnlineStore


@dataclass(frozen=True)
class OnlineAnswer:
    """What the online path says: features, the answer, and how many seconds old each group's row is, by label."""

    features: Mapping[str, Any]
    value: Any
    ages: Mapping[str, float | None]


class OnlinePath:
    """Asks builds of one model on an online store, each loaded once.

    Args:
        model: the model's name.
        models: where its builds are.
        online: where the groups' namespaces are.
    """

    def __init__(self, model: str, models: ModelStore, online: OnlineStore) -> None:
        self._model, self._models, self._online = model, models, online
        self._predictors: dict[str, Predictor | Uncompared] = {}

    def answer(self, manifest: ModelManifest, past: PastRequest) -> OnlineAnswer | Uncompared:
        """What a request is answered now, as of its prediction time, or why it is not."""
        predictor = self._predictor(past.build)
        if isinstance(predictor, Uncompared):
            return predictor
        fields = {column.name for column in manifest.view.request if column.name != manifest.view.prediction_time}
        request = {name: value for name, value in past.request.items() if name in fields}
        try:
            answer = predictor.predict(request, at=past.at)
        except DamagedError as error:
            return Uncompared("replayed", "refused", str(error))
        except FtiError as error:
            since = self.answers_from(manifest)
            is_early = isinstance(error, PredictionError) and since is not None and past.at < since
            return Uncompared("replayed", "before_answers_from" if is_early else "refused", str(error))
        return OnlineAnswer(answer.features, answer.value, answer.ages)

    def answers_from(self, manifest: ModelManifest) -> datetime | None:
        """The earliest instant that all namespaces of a build answer, None for any."""
        abouts = [self._online.about(join.table_name) for join in manifest.view.joins]
        return max((one.answers_from for one in abouts if one is not None and one.answers_from), default=None)

    def snapshots(self, manifest: ModelManifest) -> dict[str, int]:
        """The lake's snapshot that each namespace of a build was loaded from."""
        tables = {join.table_name for join in manifest.view.joins}
        return {name: number for name in tables if (number := self._online.snapshot(name)) is not None}

    def close(self) -> None:
        """Let go of all that was loaded."""
        for predictor in self._predictors.values():
            if isinstance(predictor, Predictor):
                predictor.close()

    def _predictor(self, build: str) -> Predictor | Uncompared:
        if build not in self._predictors:
            self._predictors[build] = self._load(build)
        return self._predictors[build]

    def _load(self, build: str) -> Predictor | Uncompared:
        try:
            return Predictor.load(self._model, models=str(self._models.root), online=self._online.location, build=build)
        except NotMaterializedError as error:  # the caller has loaded the build itself
            return Uncompared("replayed", "no_online_values", str(error))
        except FtiError as error:
            return Uncompared("replayed", "build_is_gone", str(error))
