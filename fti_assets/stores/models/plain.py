"""An ONNX graph of somebody's own in the model store: served as it is, without features."""

import hashlib

import onnxruntime

from fti_assets.core import clock
from fti_assets.core.manifest import DatasetRecord, ModelManifest, ViewRecord
from fti_assets.core.names import checked_version
from fti_assets.errors import excerpt
from fti_assets.stores.models.store import ModelStore, build_id
from fti_assets.stores.models.unpromoted import promote_new, publish_new


def publish_graph(store: ModelStore, name: str, graph: bytes, *, version: int = 1, reason: str = "published") -> str:
    """Put a graph into the store as a build of a model, make it champion, and return its reference.

    Args:
        name: the model's name.
        graph: the serialized ONNX model, without external data.
        version: the model's version.
        reason: what the history of champions says of it.

    Raises:
        DeclarationError: the version is none.
        StoreError: the name is none, the graph does not load, or the store cannot be written.
        AliasConflictError: somebody else changed the champion meanwhile.
    """
    checked_version(version, what=f"model {excerpt(name)}")
    now = clock.now()
    before = store.aliases(name).champion
    manifest = ModelManifest(
        model=name,
        version=version,
        build=build_id(now),
        task="regression",
        status="accepted",
        cutoff=now.isoformat(),
        created_at=now.isoformat(),
        view=ViewRecord(name, version, name, version, (), None, (), (), (), ()),
        dataset=DatasetRecord(name, version, "", "", {}, False),
        inputs=(),
        outputs=(),
        encoders={},
        metrics={},
        baseline={},
        gates=(),
        snapshot=0,
        code_version="",
        packages={"onnxruntime": onnxruntime.__version__},
        sha256=hashlib.sha256(graph).hexdigest(),
        kind="graph",
    )
    card = f"# {name}\n\nAn ONNX graph that was published as it is.\n"
    publish_new(store, manifest, graph, card, expected=before)
    promote_new(store, manifest, expected=before, reason=reason)
    return manifest.reference
