"""The Dagster resource over the stores."""

from __future__ import annotations

import dagster as dg

from fti_assets.stores.home import home
from fti_assets.stores.models import ModelStore
from fti_assets.stores.offline import OfflineStore
from fti_assets.stores.online import OnlineStore


class Stores(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where features, models and online values lie.

    Args:
        lake: the offline store's folder; ``<home>/lake`` by default.
        models: the model store's folder; ``<home>/models`` by default.
        online: the online store's folder; ``<home>/online`` by default.
    """

    lake: str | None = None
    models: str | None = None
    online: str | None = None

    def offline_store(self) -> OfflineStore:
        return OfflineStore(self.lake or home() / "lake")

    def model_store(self) -> ModelStore:
        return ModelStore(self.models or home() / "models")

    def online_store(self) -> OnlineStore:
        return OnlineStore(self.online or home() / "online")
