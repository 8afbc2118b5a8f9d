"""``fti models``, ``fti promote`` and ``fti rollback``: the model store and its champions."""

from __future__ import annotations

import getpass
import os
import socket
import sys

import click

from fti_assets.cli.options import reason_option, stores
from fti_assets.core.home import default_store
from fti_assets.errors import NoChampionError, NotMaterializedError, StoreError, list_some, one_of
from fti_assets.stores.models.aliases import AliasChange, Aliases
from fti_assets.stores.models.builds.served_groups import check_groups_served
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.models.unpromoted import left_behind
from fti_assets.stores.online.store import OnlineStore, online_store

models_folder = stores("models", otherwise="{}/ under FTI_HOME")
online_option = stores("online", otherwise="{}/ under FTI_HOME")
why = reason_option("champions")
who = click.option("--by", metavar="PERSON", help="who decides it, for the history (default: this user and host)")


def store_in(folder: str | None) -> ModelStore:
    return ModelStore(folder or default_store("models"))


def online_store_in(location: str | None) -> OnlineStore:
    return online_store(location or default_store("online"))


def check_served(store: ModelStore, model: str, build: str, location: str | None, role: str = "champion") -> None:
    """Refuse a build that no request could get an answer of, and say so where the online store cannot tell."""
    online = online_store_in(location)
    if untold := check_groups_served(store, model, build, online, role):
        click.echo(
            f"whether requests to {build} can be answered was not checked: the online store {online} has no version of "
            f"{list_some(untold)}. That is right for a model that predicts in batches alone; --online names another store",
            err=True,
        )


class _Models(click.Group):
    """A group that lists models, or the builds of one, unless what follows is one of its commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_command = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if is_command else ["list", *args])


@click.group(cls=_Models, subcommand_metavar="[MODEL] | COMMAND [ARGS]...")
def models() -> None:
    """The model store: list models, or the builds of MODEL.

    fti models is fti models list. A model that is named like a command is listed by fti models list MODEL.
    """


@models.command("list")
@click.argument("model", required=False)
@models_folder
def list_models(model: str | None, models: str | None) -> None:
    """List models, or the builds of MODEL."""
    store = store_in(models)
    if model is None:
        _list_all(store)
    else:
        _list_builds(store, model)


def _list_all(store: ModelStore) -> None:
    failures = []
    for name in store.models():
        try:
            champion = store.champion(name).reference if store.aliases(name).champion else "none"
            click.echo(f"{name}  champion {champion}")
            for note in left_behind(store, name):
                click.echo(f"    {note.build} was accepted, and is not champion: {note.reason}")
        except (StoreError, NoChampionError) as error:
            failures.append(name)
            click.echo(f"{name}  (damaged: {error})")
    if failures:
        raise StoreError(f"who is champion of {list_some(failures, 20)} cannot be read: see the lines above")


def _list_builds(store: ModelStore, model: str) -> None:
    builds, errors = store.all_builds(model)
    if not builds and not errors:
        raise NotMaterializedError(f"there is no model {model!r} in {store.root}: it has {one_of(store.models())}")
    try:
        aliases, unreadable = store.aliases(model), []
    except StoreError as error:
        aliases, unreadable = Aliases(model), ["its aliases"]
        click.echo(f"champion  (damaged: {error})")
    for build in builds:
        marks: list[str] = [build.status]
        marks += ["champion"] if build.reference == aliases.champion else []
        marks += ["rolled back"] if build.reference in aliases.rolled_back else []
        marks += ["rollback proposed"] if aliases.proposal and build.reference == aliases.proposal.champion else []
        why = [one.reason for one in aliases.unpromoted if one.build == build.reference]
        marks += ["not promoted"] if why else []
        scores = "  ".join(f"{name} {value:.4f}" for name, value in build.metrics.items())
        click.echo(f"{build.reference}  {', '.join(marks)}  {scores}")
        for reason in why:
            click.echo(f"    not promoted: {reason}")
        for gate in build.gates:
            click.echo(f"    {'passed' if gate.passed else 'failed'} {gate.gate}: {gate.reason}")
    if aliases.champion and aliases.champion not in {*errors, *(build.reference for build in builds)}:
        errors = {**errors, aliases.champion: StoreError("it is the champion, and it is not there")}
    for reference, problem in errors.items():
        click.echo(f"{reference}  (damaged: {problem})")
    if unreadable := [*unreadable, *errors]:
        raise StoreError(f"of model {model!r} {list_some(unreadable, 20)} cannot be read: see the lines above")


@click.command()
@click.argument("model")
@click.argument("build")
@why
@who
@online_option
@models_folder
def promote(model: str, build: str, reason: str, by: str | None, online: str | None, models: str | None) -> None:
    """Make an accepted build the champion of a model.

    BUILD is such as v1/20130501T000000Z-1f9ac3d2. It is compared with the champion that serves: the metrics of both, with the intervals
    that are stored. The history keeps that, who did it, when, why, and the build's gates.
    A build is refused that reads group versions which the online store no longer serves.
    """
    store = store_in(models)
    before = store.aliases(model).champion
    find_sources_here()
    check_served(store, model, build, online)
    say_champion(store, store.promote(model, build, expected=before, reason=reason, by=by or person()), before)


@click.command()
@click.argument("model")
@click.option("--to", metavar="BUILD", help="the build to go back to (default: the champion before)")
@why
@who
@online_option
@models_folder
def rollback(model: str, to: str | None, reason: str, by: str | None, online: str | None, models: str | None) -> None:
    """Go back from the champion of MODEL to an earlier one.

    A build is refused that reads group versions which the online store no longer serves.
    """
    store = store_in(models)
    before = store.aliases(model).champion
    find_sources_here()
    check_served(store, model, store.target_of_rollback(store.aliases(model), to), online)
    say_champion(store, store.roll_back(model, to, reason=reason, by=by or person()), before)


def comparison_lines(change: AliasChange) -> list[str]:
    """How a champion compares with the one before it; empty if nothing was measured of either."""
    evidence = change.evidence
    if evidence is None or evidence.before is None or not (lines := evidence.comparison):
        return []
    rows = "both on the same test rows" if evidence.before.has_same_rows else "each on the test rows of its own dataset"
    return [f"from {evidence.before.build} to {change.champion}, {rows}:", *(f"    {line}" for line in lines)]


def person() -> str:
    """Who runs this command, and where."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        name = f"user {os.getuid()}"
    return f"{name} on {socket.gethostname()}"


def find_sources_here() -> None:
    """As ``python -m`` does: the on-demand functions of a system are compared with what a build learned from."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def say_champion(store: ModelStore, aliases: Aliases, before: str | None) -> None:
    """Say who is champion and how it compares, and tell the Dagster instance of ``DAGSTER_HOME``: the champion has changed, whatever
    becomes of that."""
    for line in comparison_lines(aliases.history[-1]):
        click.echo(line)
    click.echo(f"the champion of {aliases.model} is {aliases.champion}, before it was {before or 'none'}")
    folder = os.environ.get("DAGSTER_HOME")
    if not folder:
        click.echo("nothing was reported to Dagster, since DAGSTER_HOME is not set", err=True)
        return
    try:
        from fti_assets.training.models.events import report_champion

        pages = report_champion(store, aliases)
    except Exception as error:  # dagster is not installed, or whatever its storage raises
        click.echo(
            f"nothing was reported to Dagster, since the instance of DAGSTER_HOME={folder} failed: {error}", err=True
        )
        return
    click.echo(f"reported to Dagster, on the page of {' and '.join(pages)}")
