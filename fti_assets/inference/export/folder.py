"""What an export puts into a folder, and writing it whole or not at all."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fti_assets.core import clock
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.on_demand.shipped import sources_of
from fti_assets.core.records import to_json
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.inference.export.kserve import Service, as_yaml
from fti_assets.inference.export.triton import repository_files
from fti_assets.stores.files import guard_writes, read_file, readable
from fti_assets.stores.folders import publish_folder, replace_folder
from fti_assets.stores.models.aliases import AliasChange, Aliases
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.store import ModelStore

Target = Literal["triton", "kserve", "onnx"]
RECORD = "export.json"
"""The file that tells an exported folder from any other, which is never replaced."""

_OWN = ("model.onnx", "manifest.json", "card.md")


@dataclass(frozen=True)
class Cluster:
    """What a manifest for KServe says beside the model; as of ``Service``."""

    storage_uri: str
    image: str = ""
    online: str | None = None

    def secret_for(self, model: str) -> str | None:
        """The secret that the manifest of a model takes the online store's address from, None if it says the address itself."""
        return Service(model, "", self.storage_uri, online=self.online).secret


def export(
    store: ModelStore,
    model: str,
    folder: Path,
    *,
    to: Target,
    build: str | None = None,
    overwrite: bool = False,
    cluster: Cluster | None = None,
) -> ModelManifest:
    """Write a build as others load it, and give its manifest.

    ==========  ========================================================================================================
    to          what the folder holds
    ==========  ========================================================================================================
    ``onnx``    ``model.onnx``, ``manifest.json``, ``card.md``
    ``triton``  ``repository/``, which Triton loads, and ``transformer/``: a model store of this build and its on-demand
                code, with which ``fti serve --graph-server`` looks features up before it
    ``kserve``  the same, and ``inference-service.yaml`` that starts both
    ==========  ========================================================================================================

    Args:
        store: where the build is.
        model: its name.
        folder: the folder to write.
        to: for whom.
        build: which one; the champion by default.
        overwrite: whether a folder that an export wrote is replaced.
        cluster: for KServe.

    Raises:
        NoChampionError, NotMaterializedError, DamagedError, PredictionError: the build cannot be loaded.
        DeclarationError: something is missing for KServe.
        ModelError: Triton has not a type of the graph.
        StoreError: the folder is there, or cannot be written.
    """
    with readable(folder):
        is_there = folder.exists()
        if is_there and not overwrite:
            raise StoreError(f"{folder} already exists: name another folder, or replace it with --replace")
        if is_there and not (folder / RECORD).is_file():
            raise StoreError(
                f"{folder} has no {RECORD}, so that no export wrote it, and is not replaced: name another folder"
            )
    reference = build or store.champion(model).reference
    manifest = store.manifest(model, reference)
    files = _files(store, manifest, to, cluster)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    record = {"model": model, "build": reference, "to": to, "files": hashes}
    files[RECORD] = (json.dumps(record, indent=2) + "\n").encode()
    with guard_writes(folder):
        (replace_folder if is_there else publish_folder)(folder, files)
    return manifest


def _files(store: ModelStore, manifest: ModelManifest, to: Target, cluster: Cluster | None) -> dict[str, bytes]:
    _, onnx_bytes = store.load(manifest.model, manifest.reference)
    looks_up = manifest.kind == "model"
    if looks_up:
        _, graph = load_build(store, manifest.model, manifest.reference)
    else:
        graph = Graph.plain(onnx_bytes, what=f"model {manifest.model!r} ({manifest.reference})")
    if to == "onnx":
        return {name: read_file(store.folder(manifest) / name) or b"" for name in _OWN} | {"model.onnx": onnx_bytes}
    name = f"{manifest.model}.graph" if looks_up else manifest.model
    parts = {"repository": repository_files(name, manifest.version, graph, onnx_bytes, manifest.reference)}
    if looks_up:
        parts["transformer"] = _transformer(store, manifest)
    files = {f"{part}/{path}": content for part, of_part in parts.items() for path, content in of_part.items()}
    if to == "kserve":
        files["inference-service.yaml"] = as_yaml(_service(manifest, looks_up, cluster).manifest()).encode()
    return files


def _transformer(store: ModelStore, manifest: ModelManifest) -> dict[str, bytes]:
    """A model store in which the build is champion, and its on-demand code."""
    own, root = store.folder(manifest), f"models/{manifest.model}"
    change = AliasChange(clock.now().isoformat(), manifest.reference, None, "exported")
    aliases = Aliases(manifest.model, champion=manifest.reference, history=(change,))
    return {
        f"{root}/aliases.json": to_json(aliases).encode(),
        **{f"{root}/{manifest.reference}/{name}": read_file(own / name) or b"" for name in _OWN},
        **{f"{root}/{manifest.reference}/{name}": store.file(manifest, name) for name in manifest.files},
        **{f"code/{path}": source for path, source in sources_of(manifest.on_demand).items()},
    }


def _service(manifest: ModelManifest, looks_up: bool, cluster: Cluster | None) -> Service:
    if cluster is None or not cluster.storage_uri:
        raise DeclarationError(
            f"KServe loads {manifest.model!r} from where the folder is put: name it with --storage-uri, such as "
            f"s3://models/{manifest.model}"
        )
    if manifest.view.joins and cluster.online is None:
        raise DeclarationError(
            f"model {manifest.model!r} looks features up: name the online store as the cluster reaches it, with --online, such as "
            "redis://cache:6379/0?prefix=name"
        )
    online = cluster.online if manifest.view.joins else None
    return Service(manifest.model, manifest.reference, cluster.storage_uri, cluster.image, online, looks_up)
