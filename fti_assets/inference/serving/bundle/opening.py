"""A bundle that is open: its build, its slice of the online store and its on-demand code, all of it in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fti_assets.core.on_demand.shipped import ShippedModules
from fti_assets.errors import DamagedError, PredictionError
from fti_assets.inference.serving.answers.prediction import Prediction, Predictions
from fti_assets.inference.serving.bundle.keys import ChosenKeys
from fti_assets.inference.serving.refusals import Strictness
from fti_assets.inference.serving.served_build import ServedBuild
from fti_assets.stores.bundles.archive import unpack
from fti_assets.stores.bundles.models import BundledModelStore
from fti_assets.stores.bundles.online import BundledNamespace, BundledOnlineStore
from fti_assets.stores.bundles.record import BundleRecord
from fti_assets.stores.models.loaded_build import LoadedBuild
from fti_assets.stores.online.store import OnlineStore

CODE, ONLINE, KEYS = "code/", "online/", "keys.json"


class Bundle:
    """The parts of a bundle.

    Args:
        path: its file, for errors.
        record: what it says of itself.
        members: the content of each member by its name.

    Raises:
        DamagedError: a member is missing, or is not what its record says.
    """

    def __init__(self, path: Path, record: BundleRecord, members: Mapping[str, bytes]) -> None:
        self.path = path
        self.record = record
        self.models = BundledModelStore(path, record, members)
        sources = {name.removeprefix(CODE): one for name, one in members.items() if name.startswith(CODE)}
        self.modules = ShippedModules(sources, where=f"{path}/{CODE.rstrip('/')}")
        joins = self.models.manifest(record.model, record.build).view.joins
        own_keys = ChosenKeys.from_json(members[KEYS], what=f"{path}/{KEYS}") if KEYS in members else None
        namespaces = {}
        for name, about in record.namespaces.items():
            where = f"{path}/{ONLINE}{name}"
            if ONLINE + name not in members:
                raise DamagedError(f"the bundle {path} has no {ONLINE}{name}: make it again with fti bundle")
            key_slice = None if own_keys is None else own_keys.key_slice(joins, name)
            namespaces[name] = BundledNamespace(about, members[ONLINE + name], key_slice, where=where)
        self.online = BundledOnlineStore(str(path), namespaces)

    @classmethod
    def open(cls, path: Path, *, sha256: str | None = None) -> Bundle:
        """Read a bundle and compare every member with its hash; raises as ``unpack``."""
        return cls(path, *unpack(path, sha256=sha256))

    def serve(self, build: LoadedBuild, online: OnlineStore, strictness: Strictness) -> ServedBuild:
        """The build, ready to answer; its on-demand code is the bundle's own. Takes and raises what ``ServedBuild`` does."""
        return _BundledBuild(self, build, online, strictness)


class _BundledBuild(ServedBuild):
    def __init__(self, bundle: Bundle, build: LoadedBuild, online: OnlineStore, strictness: Strictness) -> None:
        self._bundle = bundle
        self._until = bundle.record.answers_until
        with bundle.modules.allow_reading():
            super().__init__(build, online, strictness, import_module=bundle.modules.load)

    def predict(
        self, requests: Sequence[Mapping[str, Any]], at: datetime, *marks: Any, **options: Any
    ) -> list[Prediction]:
        self._check_age(at)
        return super().predict(requests, at, *marks, **options)

    def predict_columns(self, columns: Mapping[Any, list[Any]], at: datetime, **options: Any) -> Predictions:
        self._check_age(at)
        return super().predict_columns(columns, at, **options)

    def features(self, requests: Sequence[Mapping[str, Any]], at: datetime, **options: Any) -> list[dict[str, Any]]:
        self._check_age(at)
        return super().features(requests, at, **options)

    def _check_age(self, at: datetime) -> None:
        if at > self._until:
            record = self._bundle.record
            raise PredictionError(
                f"the bundle {self._bundle.path} answers until {self._until.isoformat()}, since its features are as of {record.as_of}, "
                f"and is asked for {at.isoformat()}: replace it with one that is made again, with fti bundle"
            )
