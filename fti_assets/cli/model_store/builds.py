"""``fti models show``, ``diff``, ``at`` and ``retire``: what builds are, how they differ, when they served, and which may go."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from datetime import datetime

import click

from fti_assets.cli.model_store.models import comparison_lines, models_folder, person, store_in, who
from fti_assets.core.times import instant
from fti_assets.errors import NoChampionError, StoreError, count_of, excerpt
from fti_assets.stores.models.aliases import AliasChange, Aliases
from fti_assets.stores.models.manifest_check import verdict_of
from fti_assets.stores.models.store import ModelStore

_as_json = click.option("--json", "as_json", is_flag=True, help="for machines")


@click.command()
@click.argument("model")
@click.argument("build", required=False)
@_as_json
@models_folder
def show(model: str, build: str | None, as_json: bool, models: str | None) -> None:
    """Say what a BUILD of MODEL is, and when it was champion.

    Without BUILD it is the champion: its data, code, features, encoders, metrics, gates and packages. Its card, pictures and graph lie
    in its folder.
    """
    from fti_assets.stores.models.builds.facts import fact_text, facts_of

    store = store_in(models)
    manifest = store.manifest(model, build or _champion(store, model))
    aliases = store.aliases(model)
    changes = [change for change in aliases.history if change.champion == manifest.reference]
    proposal = aliases.proposal if aliases.proposal and aliases.proposal.champion == manifest.reference else None
    if as_json:
        content = {"build": manifest.reference, "folder": str(store.folder(manifest)), **facts_of(manifest)}
        history = [dataclasses.asdict(change) for change in changes]
        rollback = {} if proposal is None else {"rollback_proposed": dataclasses.asdict(proposal)}
        click.echo(json.dumps({**content, "champion": history, **rollback}, indent=2))
        return
    marks = _marks(aliases, manifest.reference)
    click.echo(f"{model} {manifest.reference}  {', '.join([verdict_of(manifest), *marks])}")
    click.echo(f"in {store.folder(manifest)}")
    if aliases.contradiction:
        click.echo(f"{store.aliases_file(model)} {aliases.contradiction}", err=True)
    for change in changes:
        click.echo(f"champion since {_change(change)}")
        for line in comparison_lines(change):
            click.echo(f"    {line}")
        if change.fresh is not None:
            click.echo(f"    since {change.fresh.text}")
    if proposal is not None:
        click.echo(f"a rollback to {proposal.to} is proposed since {proposal.at}: {proposal.evidence.text}")
    for section, facts in facts_of(manifest).items():
        _say_section(section, {name: fact_text(value) for name, value in facts.items() if value not in ("", [], ())})


@click.command()
@click.argument("model")
@click.argument("build")
@click.argument("other", required=False)
@_as_json
@models_folder
def diff(model: str, build: str, other: str | None, as_json: bool, models: str | None) -> None:
    """Say in what BUILD of MODEL differs from OTHER.

    Without OTHER it is compared with the champion. An arrow leads from what OTHER has to what BUILD has.
    """
    from fti_assets.stores.models.builds.differences import differences, lines_of

    store = store_in(models)
    before = store.manifest(model, other or _champion(store, model))
    after = store.manifest(model, build)
    results = differences(before, after)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in results], indent=2))
        return
    click.echo(f"{model}: from {before.reference} to {after.reference}")
    if not results:
        click.echo("they do not differ")
    for section in dict.fromkeys(one.section for one in results):
        click.echo(section)
        for line in lines_of([one for one in results if one.section == section]):
            click.echo(f"  {line}")


@click.command()
@click.argument("model_and_time", nargs=-1, required=True, metavar="[MODEL] TIME")
@models_folder
def at(model_and_time: tuple[str, ...], models: str | None) -> None:
    """Say which build of MODEL was in production at a TIME.

    TIME is ISO text, such as 2013-11-07T12:00, in UTC unless it says otherwise. Without MODEL all models are told.
    """
    from fti_assets.stores.models.builds.past import production_at

    *names, text = model_and_time
    if len(names) > 1:
        raise click.UsageError(f"one MODEL and a TIME are expected, not {excerpt(' '.join(model_and_time))}")
    moment, store = _moment(text), store_in(models)
    if names and names[0] not in store.models():
        raise NoChampionError(f"there is no model {names[0]!r:.100} in {store.root}")
    for name in names or store.models():
        aliases = store.aliases(name)
        if aliases.contradiction:
            click.echo(f"{store.aliases_file(name)} {aliases.contradiction}. What follows is by its history", err=True)
        production = production_at(aliases, moment)
        change = production.change
        if change is None:
            click.echo(f"{name}  nothing: it had no champion yet")
            continue
        until = f", until {production.until}" if production.until else ""
        click.echo(f"{name}  {change.champion}  since {_change(change)}{until}")
        for arm, reference in production.arms.items():
            click.echo(f"    {arm} {reference}, {production.shares.get(arm, 0):.2%} of the keys")


@click.command()
@click.argument("model")
@click.option("--keep", type=int, metavar="N", help="the N newest accepted builds stay, and what is newer than these")
@click.option("--older-than", metavar="DURATION", help="builds that were made since then stay, such as 90d")
@click.option("--dry-run", is_flag=True, help="only say which would go")
@click.option("--yes", is_flag=True, help="do not ask")
@who
@models_folder
def retire(
    model: str, keep: int | None, older_than: str | None, dry_run: bool, yes: bool, by: str | None, models: str | None
) -> None:
    """Delete old builds of MODEL.

    Builds that are or ever were champion stay, and so do those that were rolled back, that answer or answered in a rollout (which an
    experiment judges), or that a composite is made of. The others that are old go; with both options they must be old by both. They are
    listed first; without a terminal to ask at and without --yes, they are only listed. The alias file keeps which ones went, when, why
    and by whom. Stored predictions keep the names of builds that are gone.
    """
    from fti_assets.stores.models.builds.retirement import Policy, plan_retirement
    from fti_assets.stores.models.builds.retirement import retire as delete

    if keep is None and older_than is None:
        raise click.UsageError("say which builds are old: --keep N, --older-than DURATION, or both")
    store, policy = store_in(models), Policy.of(keep, older_than)
    plan = plan_retirement(store, model, policy)
    for reference, why in plan.spared.items():
        click.echo(f"{reference}  stays: {why}")
    for reference, size in plan.sizes.items():
        click.echo(f"{reference}  goes, {size:,} bytes")
    if not plan.sizes or dry_run:
        click.echo(
            f"{count_of(len(plan.sizes), 'build')} of {model} would go" if plan.sizes else f"no build of {model} goes"
        )
        return
    if not yes and not _confirm(len(plan.sizes)):
        click.echo("nothing was deleted: answer y, or say --yes")
        return
    retired = delete(store, model, policy, references=plan.sizes, by=by or person())
    click.echo(f"deleted {count_of(len(retired.sizes), 'build')} of {model}, {sum(retired.sizes.values()):,} bytes")


def _champion(store: ModelStore, model: str) -> str:
    return store.champion(model).reference


def _marks(aliases: Aliases, reference: str) -> list[str]:
    marks = ["champion"] if reference == aliases.champion else []
    marks += ["rolled back"] if reference in aliases.rolled_back else []
    marks += ["not promoted"] if any(reference == one.build for one in aliases.unpromoted) else []
    return [*marks, *([f"arm {aliases.arms[reference]}"] if reference in aliases.arms else [])]


def _change(change: AliasChange) -> str:
    author = f", by {change.author}" if change.author else ""
    return f"{change.at}: {change.reason}{author}"


def _say_section(section: str, facts: Mapping[str, str]) -> None:
    if facts:
        click.echo(section)
    for name, value in facts.items():
        click.echo(f"  {name}: {value}")


def _moment(text: str) -> datetime:
    try:
        return instant(text)
    except ValueError as error:
        raise StoreError(f"{text!r:.100} is no instant: write ISO text such as 2013-11-07T12:00") from error


def _confirm(builds: int) -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input(f"delete these {count_of(builds, 'build')}? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
