"""``fti models track``: builds that are in the model store, mirrored to MLflow later."""

from __future__ import annotations

import click

from fti_assets.cli.model_store.models import models_folder, store_in


@click.command()
@click.argument("model")
@click.argument("build", required=False)
@click.option("--to", required=True, metavar="ADDRESS", help="MLflow's server or database, such as http://host:5000")
@click.option("--experiment", metavar="NAME", help="the experiment (default: one of the model's name)")
@click.option("--artifacts", metavar="PLACE", help="where a new experiment keeps its files")
@models_folder
def track(
    model: str, build: str | None, to: str, experiment: str | None, artifacts: str | None, models: str | None
) -> None:
    """Mirror BUILD of MODEL to MLflow, or all its builds.

    A build that is there as a whole is left as it is.
    """
    from fti_assets.training.tracking.mlflow_runs import Tracker, mirror_build

    store, tracker = store_in(models), Tracker(to, experiment, artifacts)
    manifests = [store.manifest(model, build)] if build else store.builds(model)
    for manifest in manifests:
        if manifest.composite is not None or manifest.kind == "graph":
            click.echo(f"{manifest.reference}  left out: it was not trained")
            continue
        run = mirror_build(tracker, store, manifest)
        click.echo(f"{manifest.reference}  {'mirrored as' if run.is_new else 'is there already,'} run {run.run_id}")
    if not manifests:
        click.echo(f"no build of {model} is there")
