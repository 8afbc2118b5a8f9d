"""The predictor: what an app imports to ask a model, with numpy and onnxruntime alone."""

from collections.abc import Collection, Sequence
from pathlib import Path

from fti_assets.core.arguments import checked_arguments
from fti_assets.errors import PredictionError, excerpt
from fti_assets.inference.serving.answers.prediction import Explanation, Prediction, Predictions
from fti_assets.inference.serving.loading import ServingStores, log_writer
from fti_assets.inference.serving.open_predictor import OpenPredictor
from fti_assets.inference.serving.refusals import OnMissing, Report, Strictness, UnknownKeys
from fti_assets.inference.serving.served_model import Follow, ServedModel
from fti_assets.stores.models.graphs.execution import execution_providers

__all__ = ["Explanation", "Prediction", "Predictions", "Predictor"]


@checked_arguments(instead="fti.Predictor.load('delay_net'), with the name of a model")
class Predictor(OpenPredictor):
    """Answers requests to one model, from any thread, following its champion or pinned to one build.

    >>> predictor = Predictor.load("delay_net")  # doctest: +SKIP
    >>> predictor.predict({"flight_id": 7, "origin": "JFK"}).value  # doctest: +SKIP
    0.23
    """

    @classmethod
    @checked_arguments()
    def load(
        cls,
        model: str,
        *,
        models: str | Path | None = None,
        online: str | Path | None = None,
        build: str | None = None,
        unknown_keys: UnknownKeys = "missing",
        unknown_categories: Report = "report",
        out_of_schema: Report = "report",
        on_missing: OnMissing = "impute",
        follow: Follow = "request",
        log: str | Path | None = None,
        redact: Collection[str] = (),
        providers: str | Sequence[str] | None = None,
    ) -> "Predictor":
        """Load a model's champion, or one build, with everything it needs.

        Args:
            models: the model store's folder; ``models`` under ``FTI_HOME`` by default, and ``FTI_HOME`` is ``./.fti`` by default.
            online: the online store, a folder or ``redis://host:port/db?prefix=name``; ``online`` under ``FTI_HOME`` by default.
            build: the build to stay with, such as ``v1/20130501T000000Z-1f9ac3d2``; by default follow the champion.
            unknown_keys: how to treat a key without any row in a group: as "missing" features or as an "error".
            unknown_categories: how to treat a category that the model has not learned: as a "report" in the prediction's
                ``unknown``, or as an "error".
            out_of_schema: how to treat a field that the spine's schema would refuse, and a number that the model gets rounded or as
                infinite: as a "report" in the prediction's ``out_of_schema``, or as an "error".
            on_missing: how to treat a group that has no row for a request, or a stale one: its features are missing and the model
                imputes them ("impute"), or an "error" names the group, the key and the stale row's age.
            follow: when to look for a new champion: at each "request" (requests within a millisecond look once), or at each "call"
                of ``follow``, so that no request waits for a champion to load.
            log: the folder of a prediction log, to which a thread writes the answers; by default they are not logged.
            redact: request fields and features that are never written to the log in clear: left out, or hashed with the secret in
                ``FTI_LOG_KEY``.
            providers: the execution providers of onnxruntime that the graph runs on, the preferred one first: ``"cuda"`` or
                ``"cuda,cpu"``; by default those in ``FTI_PROVIDERS``, and without it the CPU, which runs what another provider
                cannot.

        Raises:
            MissingExtraError: the online store is a server, and its client is not installed.
            NoChampionError: the model has no champion.
            NotMaterializedError: the build or an online namespace that it needs is not there.
            DamagedError: the build's files are not what was written.
            PredictionError: the app's on-demand modules or the namespaces are not what the model learned from, or the installed
                onnxruntime does not have such a provider, or cannot use it here.
            StoreError: the log's folder cannot be made.
        """
        strictness = Strictness(unknown_keys, unknown_categories, out_of_schema, on_missing)
        stores = ServingStores.at(models, online, providers=providers)
        writer = log_writer(log, redact)
        return cls(served=stores.model(model, build=build, strictness=strictness, follow=follow), log=writer)

    @classmethod
    @checked_arguments()
    def load_many(
        cls,
        names: Sequence[str],
        *,
        models: str | Path | None = None,
        online: str | Path | None = None,
        unknown_keys: UnknownKeys = "missing",
        unknown_categories: Report = "report",
        out_of_schema: Report = "report",
        on_missing: OnMissing = "impute",
        follow: Follow = "request",
        providers: str | Sequence[str] | None = None,
    ) -> "dict[str, Predictor]":
        """Load the champions of several models as predictors, by name, that share one online store and its connections.

        On Redis there is one connection per thread for all of them, on SQLite one per thread for all that read the same groups. The
        connections close when the last of the predictors is closed.

        Args:
            names: the names of the models.
            models: as in ``load``, like all other arguments.

        Raises:
            PredictionError: a name is given twice, or as for ``load``; then none is loaded.

        >>> predictors = Predictor.load_many(["delay_net", "cancel_net"])  # doctest: +SKIP
        >>> predictors["cancel_net"].predict({"flight_id": 7, "origin": "JFK"}).value  # doctest: +SKIP
        0.01
        """
        if len(set(names)) < len(names):
            raise PredictionError(f"the models to load are {excerpt(list(names))}: one of them comes twice")
        strictness = Strictness(unknown_keys, unknown_categories, out_of_schema, on_missing)
        stores = ServingStores.at(models, online, providers=providers)
        return {
            name: cls(served=stores.model(name, build=None, strictness=strictness, follow=follow)) for name in names
        }

    @classmethod
    @checked_arguments()
    def open_bundle(
        cls,
        path: str | Path,
        *,
        sha256: str | None = None,
        unknown_keys: UnknownKeys = "missing",
        unknown_categories: Report = "report",
        out_of_schema: Report = "report",
        on_missing: OnMissing = "impute",
        log: str | Path | None = None,
        redact: Collection[str] = (),
        providers: str | Sequence[str] | None = None,
    ) -> "Predictor":
        """Open a model that ``fti bundle`` wrote into one file, with its features and its on-demand code.

        It answers as the predictor on the stores did when the bundle was made, and refuses to answer later than the bundle allows.
        The file is read once, into memory, and each part of it is checked against its hash before it is used. Its on-demand code is
        run, so open only bundles that you trust, and give ``sha256`` for a bundle that has travelled far.

        Args:
            path: the file.
            sha256: the hash of the whole file, as ``fti bundle`` prints it.
            unknown_keys: as in ``load``, like all other arguments.

        Raises:
            NotMaterializedError: there is no file.
            DamagedError: the file is not what was written, or is not a bundle.
            StoreError: another release wrote it, or the log's folder cannot be made.
            PredictionError: the installed onnxruntime answers differently than when the build was made, or does not have such a
                provider.

        >>> predictor = Predictor.open_bundle("delay_net.zip")  # doctest: +SKIP
        >>> predictor.predict({"flight_id": 7, "origin": "JFK"}).value  # doctest: +SKIP
        0.23
        """
        from fti_assets.inference.serving.bundle.opening import Bundle

        strictness = Strictness(unknown_keys, unknown_categories, out_of_schema, on_missing)
        own_providers = execution_providers(providers)
        bundle = Bundle.open(Path(path), sha256=sha256)
        writer = log_writer(log, redact)
        model = ServedModel(
            bundle.record.model,
            bundle.models,
            bundle.online,
            build=bundle.record.build,
            strictness=strictness,
            follow="request",
            providers=own_providers,
            serve=bundle.serve,
        )
        return cls(served=model, log=writer)
