"""What a predictor is loaded from: the stores of a system, and the log that it writes."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fti_assets.core.home import default_store
from fti_assets.inference.serving.refusals import Strictness
from fti_assets.inference.serving.served_model import Follow, ServedModel
from fti_assets.stores.models.graphs.execution import execution_providers
from fti_assets.stores.models.reader import ModelReader
from fti_assets.stores.online.store import OnlineStore, online_store

if TYPE_CHECKING:
    from fti_assets.inference.serving.log.writer import LogWriter


class ServingStores(NamedTuple):
    """Where models and the features that they look up are, and what their graphs run on."""

    models: ModelReader
    online: OnlineStore
    providers: Sequence[str]

    @classmethod
    def at(
        cls, models: str | Path | None, online: str | Path | None, *, providers: str | Sequence[str] | None
    ) -> "ServingStores":
        """The stores at some places, those under ``FTI_HOME`` by default."""
        model_store = ModelReader(default_store("models") if models is None else models)
        online_values = online_store(default_store("online") if online is None else online)
        return cls(model_store, online_values, execution_providers(providers))

    def model(self, name: str, *, build: str | None, strictness: Strictness, follow: Follow) -> ServedModel:
        """A model's champion, or one build, loaded."""
        return ServedModel(
            name,
            self.models,
            self.online,
            build=build,
            strictness=strictness,
            follow=follow,
            providers=self.providers,
        )


def log_writer(folder: str | Path | None, redact: Collection[str]) -> "LogWriter | None":
    """The writer of a prediction log, if answers are logged."""
    if folder is None:
        return None
    # Not at the top: an app without a log does not wait for it.
    from fti_assets.inference.serving.log.writer import LogWriter

    return LogWriter(folder, redact=redact)
