"""Naming a model that another code location owns."""

from __future__ import annotations

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.orchestration.resources import Stores
from fti_assets.training.composites.composite import Composite
from fti_assets.training.models.model import Model
from fti_assets.training.published.model import model_of_store


@checked_arguments(itself=["version"])
def published_model(name: str, *, version: int | None = None, stores: Stores | None = None) -> Model | Composite:
    """Refer to a model or a composite that another code location owns, and use it like one declared here.

    Its answers, the needs of its view, its labels and its evaluation are read from its champion's build in the model store. The
    groups of the view are read from the offline store, as ``fti.group`` reads them. Batch predictions, prediction logs, monitors,
    composites and experiments accept it. Reload this code when its owner has promoted a build that needs other groups. Its asset
    here is an external asset with the same key, so its owner's training starts downstream assets here. An app needs only the name:
    ``Predictor.load("delay_net")``.

    Args:
        name: the model's name.
        version: take the newest accepted build of this version instead of the champion, if that is of another.
        stores: where it and its groups are stored; under ``FTI_HOME`` by default. Give the stores that these definitions have.

    Raises:
        NotMaterializedError: it has no accepted build, its builds are from an earlier release, or a group of its view is not there.
        StoreError: a store cannot be reached, or the build is from a later release and has something that this one does not know.
        DeclarationError: a group of its view has changed its meaning, or an on-demand function of it is not here.

    >>> delay_net = fti.published_model("delay_net")  # doctest: +SKIP
    >>> fti.batch_predictions(name="delay_predictions", model=delay_net, partitions_def=daily)  # doctest: +SKIP
    """
    checked_name(name, what="model")
    if version is not None:
        checked_version(version, what=f"model {name!r}")
    return model_of_store(name, version, stores or Stores())
