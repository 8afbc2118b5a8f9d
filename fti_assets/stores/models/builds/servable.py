"""Whether a build of the store can answer here: what its graph says now, and the source of its on-demand functions."""

from __future__ import annotations

from fti_assets.core.logs import late_logger
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.on_demand.call import check_source
from fti_assets.core.on_demand.syntax.source import source_file
from fti_assets.errors import DamagedError, PredictionError, StoreError
from fti_assets.stores.models.opened_graph import open_graph
from fti_assets.stores.models.reader import ModelReader
from fti_assets.stores.models.samples import SAMPLES

_log = late_logger(__name__)


def check_answers(
    store: ModelReader, manifest: ModelManifest, graph: bytes, samples: bytes | None, role: str, *, seconds: float
) -> None:
    """Refuse a build whose graph does not run, or answers its samples otherwise than when it was made.

    Raises:
        StoreError: it is so.
    """
    what, samples_file = f"model {manifest.model!r} ({manifest.reference})", str(store.folder(manifest) / SAMPLES)
    try:
        open_graph(manifest, graph, samples, what=what, samples_file=samples_file, seconds=seconds)
    except (DamagedError, PredictionError) as error:
        raise _refusal(manifest, role, error) from error


def check_on_demand(manifest: ModelManifest, role: str) -> None:
    """Refuse a build that predictors would refuse with the source of now, where that source is here.

    Raises:
        StoreError: it is one.
    """
    for call in manifest.on_demand:
        if source_file(call.module) is None:
            _log.warning(
                "the on-demand function %r of %s/%s is not compared with what the model learned from: its module %r is "
                "not here",
                call.name, manifest.model, manifest.reference, call.module,
            )  # fmt: skip
            continue
        try:
            check_source(call)
        except PredictionError as error:
            raise _refusal(manifest, role, error) from error


def _refusal(manifest: ModelManifest, role: str, error: Exception) -> StoreError:
    return StoreError(f"{manifest.model}/{manifest.reference} cannot be {role}, nothing was changed: {error}")
