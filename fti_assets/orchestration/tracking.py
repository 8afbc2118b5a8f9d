"""What says where builds are mirrored to MLflow, within the resource over the stores."""

from __future__ import annotations

import os

import dagster as dg

from fti_assets.core.arguments import checked_arguments
from fti_assets.errors import DeclarationError
from fti_assets.orchestration.addresses import whole_address, without_secrets


class MlflowTracking(dg.Config):  # type: ignore[misc]
    """Where each build is mirrored to MLflow: parameters, metrics, tags, card, pictures and graph, and each tuning trial as a nested run.

    Pass it to the stores, ``fti.Stores(tracking=fti.MlflowTracking(...))``. Serving and gates do not depend on it: if MLflow does not
    answer, the build is still made, its page says so, and ``fti models track`` mirrors it later.

    Args:
        tracking_uri: a server, ``http://host:5000``, or a database, ``sqlite:////srv/mlflow.db`` or ``postgresql://...``. A password in
            it is kept out of what Dagster shows and records; better still, ``dg.EnvVar`` keeps it out of the code.
        experiment: the experiment's name; by default each model has an experiment with its name.
        artifacts: where a new experiment keeps its files, such as ``s3://bucket/mlflow``. By default the server decides, and for a
            SQLite file they are beside it in ``mlruns/``.

    Raises:
        DeclarationError: the address is a folder, which MLflow no longer writes.
    """

    tracking_uri: str
    experiment: str | None = None
    artifacts: str | None = None

    @checked_arguments(method=True)
    def __init__(self, *, tracking_uri: str, experiment: str | None = None, artifacts: str | None = None) -> None:
        if not isinstance(tracking_uri, dg.EnvVar):
            _refuse_folder(tracking_uri)
        super().__init__(
            tracking_uri=without_secrets(tracking_uri), experiment=experiment, artifacts=without_secrets(artifacts)
        )

    @property
    def address(self) -> str:
        """The whole of ``tracking_uri``."""
        return str(whole_address(self.tracking_uri))

    @property
    def artifact_address(self) -> str | None:
        """The whole of ``artifacts``."""
        return whole_address(self.artifacts)


def _refuse_folder(uri: str) -> None:
    scheme, sign, _ = uri.partition(":")
    is_folder = not sign or scheme == "file" or len(scheme) == 1
    if is_folder and uri != "databricks" and os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("true", "1"):
        raise DeclarationError(
            f"fti.MlflowTracking has tracking_uri={uri!r}, a folder, which MLflow 3 no longer writes: give it a file of SQLite, "
            "'sqlite:////srv/mlflow.db', or a server, 'http://host:5000'"
        )
