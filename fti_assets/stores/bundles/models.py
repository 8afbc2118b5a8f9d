"""The model store in a bundle: one build, champion since there is no other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import from_json
from fti_assets.errors import DamagedError, NotMaterializedError
from fti_assets.stores.bundles.record import BundleRecord
from fti_assets.stores.models.aliases import Aliases
from fti_assets.stores.models.manifest_check import check_manifest
from fti_assets.stores.models.reader import ModelReader
from fti_assets.stores.places import Place

GRAPH, MANIFEST, CARD = "model.onnx", "manifest.json", "card.md"


class BundledModelStore(ModelReader):
    """One build, read from the members of a bundle.

    Args:
        path: the bundle's file.
        record: what it says of itself.
        members: their content by name.
    """

    def __init__(self, path: Path, record: BundleRecord, members: Mapping[str, bytes]) -> None:
        super().__init__(path)
        self._record = record
        self._members = members

    def models(self) -> tuple[str, ...]:
        return (self._record.model,)

    def aliases(self, model: str) -> Aliases:
        return Aliases(model, champion=self._record.build if model == self._record.model else None)

    def manifest(self, model: str, reference: str) -> ModelManifest:
        record = self._record
        if (model, reference) != (record.model, record.build):
            raise NotMaterializedError(
                f"the bundle {self.root} holds {record.model}/{record.build}, not {model}/{reference}"
            )
        manifest = from_json(
            ModelManifest,
            self._member(MANIFEST),
            what=f"{self.root}/{MANIFEST}",
            remedy="make the bundle again with fti bundle",
        )
        if (manifest.model, manifest.reference) != (model, reference):
            raise DamagedError(
                f"{self.root}/{MANIFEST} is that of {f'{manifest.model}/{manifest.reference}':.100}: make the bundle again"
            )
        check_manifest(manifest, what=f"{self.root}/{MANIFEST}")
        return manifest

    def load(self, model: str, reference: str) -> tuple[ModelManifest, bytes]:
        manifest = self.manifest(model, reference)
        return manifest, self._compare(GRAPH, manifest.sha256)

    def file(self, manifest: ModelManifest, name: str) -> bytes:
        return self._compare(name, manifest.files[name])

    def folder(self, manifest: ModelManifest) -> Place:
        return self.root

    def _compare(self, name: str, sha256: str) -> bytes:
        content = self._member(name)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DamagedError(f"{self.root}/{name} is not what the manifest beside it names: make the bundle again")
        return content

    def _member(self, name: str) -> bytes:
        if name not in self._members:
            raise DamagedError(f"the bundle {self.root} has no {name}: make it again with fti bundle")
        return self._members[name]
