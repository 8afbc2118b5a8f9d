"""The inference server: the Open Inference Protocol, and plain JSON, over HTTP."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.home import default_store
from fti_assets.errors import DeclarationError
from fti_assets.inference.server.app import ServingApp
from fti_assets.inference.server.endpoints.repository import Repository
from fti_assets.inference.server.limits import Limits
from fti_assets.inference.server.remote.connection import GraphServer
from fti_assets.inference.server.remote.graph import serving_on
from fti_assets.inference.serving.log.writer import LogWriter
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.inference.serving.refusals import OnMissing, Report, Strictness, UnknownKeys
from fti_assets.inference.serving.served_build import ServedBuild
from fti_assets.inference.serving.served_model import ServedModel
from fti_assets.stores.models.graphs.execution import execution_providers
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import is_redis, online_store

__all__ = ["Limits", "ServingApp", "serving_app"]


@checked_arguments()
def serving_app(
    *names: str,
    models: str | Path | None = None,
    online: str | Path | None = None,
    tokens: Sequence[str] = (),
    limits: Limits | None = None,
    log: str | Path | None = None,
    redact: Collection[str] = (),
    providers: str | Sequence[str] | None = None,
    graph_server: str | None = None,
    unknown_keys: UnknownKeys = "missing",
    unknown_categories: Report = "report",
    out_of_schema: Report = "report",
    on_missing: OnMissing = "impute",
) -> ServingApp:
    """An ASGI application that answers requests to models, for any ASGI server or mounted in your own app.

    It speaks the Open Inference Protocol v2 under ``/v2`` (with binary tensors, the repository, statistics and configurations)
    and plain JSON at ``POST /predict/<model>``. In ``/v2`` the inputs of ``<model>`` are the fields of a request, and features are
    looked up; ``<model>.graph`` takes the inputs of the graph itself.

    Args:
        names: the models to load at once; the others of the store can be loaded later, through the repository.
        models: the model store's folder; ``models`` under ``FTI_HOME`` by default.
        online: the online store, a folder or ``redis://host:port/db?prefix=name``; ``online`` under ``FTI_HOME`` by default.
        tokens: the accepted tokens. Each request must carry one (``Authorization: Bearer``), except for health; by default none is
            needed.
        limits: the server's limits.
        log: the folder of a prediction log, to which answers are written with their requests and features, off the requests' path;
            by default they are not logged.
        redact: request fields and features that are never written to the log in clear: left out, or hashed with the secret in
            ``FTI_LOG_KEY``.
        providers: the execution providers that the graphs run on, as in ``Predictor.load``.
        graph_server: the URL of another server of the protocol, such as Triton, that runs the graph of each model as
            ``<model>.graph``, while features are looked up here. It must have the build that is served here. The token that it asks for
            is in ``FTI_GRAPH_TOKEN``.
        unknown_keys: "error" to refuse a request with a key that a group does not know, as in ``Predictor.load``, like the next
            three.
        unknown_categories: "error" to refuse one with a category that the model has not learned.
        out_of_schema: "error" to refuse one with a value that the spine's schema would refuse.
        on_missing: "error" to refuse one for which a group has no row or a stale one.

    Raises:
        DeclarationError: no model is named, or a token is empty.
        NoChampionError, NotMaterializedError, DamagedError, PredictionError: a model cannot be served.
        StoreError: the log's folder cannot be made, or the graph server does not answer.

    >>> app = serving_app("delay_net", models="models/", online="online/")  # doctest: +SKIP
    """
    if not names:
        raise DeclarationError("serving_app() names no model: give it one, as in fti.serving_app('delay_net')")
    if any(not token for token in tokens):
        raise DeclarationError(
            "serving_app(tokens=...) has an empty token, which everybody knows: give it a long random one"
        )
    location = default_store("online") if online is None else online
    own_providers = execution_providers(providers)
    strictness = Strictness(unknown_keys, unknown_categories, out_of_schema, on_missing)

    store = ModelStore(default_store("models") if models is None else models)
    online_values = online_store(location)
    serve = ServedBuild if graph_server is None else serving_on(GraphServer(graph_server))

    def load(name: str) -> Predictor:
        served_model = ServedModel(
            name,
            store,
            online_values,
            build=None,
            strictness=strictness,
            follow="call",
            providers=own_providers,
            serve=serve,
        )
        return Predictor(served=served_model)

    repository = Repository(store, load, names, providers=own_providers)
    writer = None if log is None else partial(LogWriter, log, redact=tuple(redact))
    return ServingApp(
        repository,
        limits=limits or Limits(),
        tokens=tokens,
        in_threads=is_redis(location) or graph_server is not None,
        log=None if writer is None else lambda tally: writer(tally=tally),
    )
