"""``fti models export``: a build as other servers load it."""

from __future__ import annotations

from pathlib import Path

import click

from fti_assets.cli.model_store.models import find_sources_here, models_folder, store_in

_TARGETS = ("triton", "kserve", "onnx")
_KSERVE_ONLY = ("storage_uri", "image", "online")


@click.command()
@click.argument("model")
@click.option("--to", type=click.Choice(_TARGETS), required=True, help="for whom")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="the folder to write")
@click.option("--build", help="such as v1/20130501T000000Z-1f9ac3d2 (default: the champion)")
@click.option("--replace", is_flag=True, help="put it in the place of an export that is there")
@click.option("--storage-uri", metavar="URI", help="kserve: where you put the folder, such as s3://models/delay_net")
@click.option("--image", help="kserve: your image with fti-assets[server], which looks features up")
@click.option("--online", metavar="ADDRESS", help="kserve: the online store as the cluster reaches it")
@models_folder
def export(
    model: str,
    to: str,
    out: Path,
    build: str | None,
    replace: bool,
    models: str | None,
    **cluster: str | None,
) -> None:
    """Write a build of MODEL as other servers load it.

    onnx writes the graph, its manifest and its card. triton writes a model repository of the graph, and a model store with which fti
    serve --graph-server looks features up before it. kserve adds the InferenceService that starts both.
    """
    from fti_assets.inference.export.folder import Cluster, export

    if to != "kserve" and (strays := [name for name in _KSERVE_ONLY if cluster[name] is not None]):
        raise click.UsageError(f"--{strays[0].replace('_', '-')} is for --to kserve")
    find_sources_here()
    target = Cluster(cluster["storage_uri"] or "", cluster["image"] or "", cluster["online"])
    manifest = export(store_in(models), model, out, to=to, build=build, overwrite=replace, cluster=target)  # type: ignore[arg-type]
    click.echo(f"{out} holds {manifest.model} {manifest.reference} for {to}")
    looks_up = manifest.kind == "model"
    if to == "triton":
        click.echo(f"  tritonserver --model-repository {out}/repository")
        if looks_up:
            click.echo(
                f"  PYTHONPATH={out}/transformer/code fti serve {model} --models {out}/transformer/models --port 9000 "
                "--graph-server http://localhost:8000"
            )
    if to == "kserve":
        click.echo(f"  put the folder at {target.storage_uri}, then kubectl apply -f {out}/inference-service.yaml")
        if target.secret_for(model) is not None:
            click.echo(
                f"  the address of the online store is taken from key 'address' of the secret {target.secret_for(model)}"
            )
