"""``fti rollout``: builds that answer some of a model's requests beside its champion."""

from __future__ import annotations

import secrets

import click

from fti_assets.cli.model_store.models import (
    check_served,
    find_sources_here,
    models_folder,
    online_option,
    person,
    say_champion,
    store_in,
    who,
)
from fti_assets.cli.options import reason_option
from fti_assets.core import clock
from fti_assets.core.rollouts.rollout import KINDS, Arm, Rollout
from fti_assets.errors import StoreError, excerpt
from fti_assets.stores.models.aliases import Aliases
from fti_assets.stores.models.rollouts import (
    change_shares,
    promote_arm,
    shares_of,
    start_rollout,
    stop_rollout,
)

_why = reason_option("rollouts")


@click.group()
def rollout() -> None:
    """Let builds of a model answer some of its requests beside the champion."""


@rollout.command()
@click.argument("model")
@click.argument("arms", nargs=-1, required=True, metavar="[ARM=]BUILD...")
@click.option("--kind", type=click.Choice(KINDS), default="canary", show_default=True)
@click.option("--share", type=float, default=0.05, show_default=True, help="of the keys, for each arm")
@click.option(
    "--key", required=True, multiple=True, metavar="FIELD", help="a field of the request that determines its arm"
)
@click.option("--salt", help="text that mixes the keys in another way (default: a random one)")
@_why
@online_option
@models_folder
def start(
    model: str,
    arms: tuple[str, ...],
    kind: str,
    share: float,
    key: tuple[str, ...],
    salt: str | None,
    reason: str,
    online: str | None,
    models: str | None,
) -> None:
    """Let the BUILDs answer a share of the keys each.

    A build is such as v1/20130501T000000Z-1f9ac3d2. An arm without a name is called "challenger". Servers that run follow within half a
    second. A shadow answers nobody: what it would have said stands in the prediction log. A build is refused that reads group versions
    which the online store no longer serves.
    """
    store = store_in(models)
    find_sources_here()
    parts = [arm.rpartition("=") for arm in arms]
    own_arms = tuple(Arm(name or "challenger", build, share) for name, _, build in parts)
    for arm in own_arms:
        check_served(store, model, arm.build, online, "an arm")
    new_rollout = Rollout(
        kind=kind,  # type: ignore[arg-type]
        arms=own_arms,
        key=key,
        salt=salt or secrets.token_hex(8),
        started_at=clock.now().isoformat(timespec="seconds"),
        reason=reason,
    )
    _say(start_rollout(store, model, new_rollout))


@rollout.command()
@click.argument("model")
@models_folder
def status(model: str, models: str | None) -> None:
    """Say which arms MODEL has, and what became of its rollouts."""
    store = store_in(models)
    aliases = store.aliases(model)
    _say(aliases)
    for change in aliases.rollouts:
        arms = ", ".join(f"{name} {change.builds[name]} {share:.1%}" for name, share in change.shares.items())
        click.echo(f"{change.at[:19]}  {change.event}: {arms} ({change.reason})")


@rollout.command()
@click.argument("model")
@click.argument("shares", nargs=-1, required=True, metavar="ARM=SHARE...")
@_why
@models_folder
def shift(model: str, shares: tuple[str, ...], reason: str, models: str | None) -> None:
    """Give the arms of MODEL other shares, such as challenger=0.2; no more keys change their arm than the shares say."""
    new_shares = {}
    for text in shares:
        name, _, share = text.partition("=")
        try:
            new_shares[name] = float(share)
        except ValueError:
            raise StoreError(f"{excerpt(text)} is no share: ARM=SHARE is expected, such as challenger=0.2") from None
    _say(change_shares(store_in(models), model, new_shares, reason=reason))


@rollout.command()
@click.argument("model")
@_why
@models_folder
def stop(model: str, reason: str, models: str | None) -> None:
    """Let the champion of MODEL answer everything again."""
    _say(stop_rollout(store_in(models), model, reason=reason))


@rollout.command("promote")
@click.argument("model")
@click.argument("arm", default="challenger")
@_why
@who
@online_option
@models_folder
def promote(model: str, arm: str, reason: str, by: str | None, online: str | None, models: str | None) -> None:
    """Make the build of an ARM the champion of MODEL, and end the rollout, in one change.

    It is refused if it reads group versions which the online store no longer serves.
    """
    store = store_in(models)
    aliases = store.aliases(model)
    before = aliases.champion
    find_sources_here()
    for build, name in aliases.arms.items():
        if name == arm:
            check_served(store, model, build, online)
    say_champion(store, promote_arm(store, model, arm, reason=reason, by=by or person()), before)


def _say(aliases: Aliases) -> None:
    if aliases.rollout is None:
        click.echo(
            f"model {aliases.model} has no rollout: its champion {aliases.champion or 'none'} answers everything"
        )
        return
    going = aliases.rollout
    click.echo(f"{going.kind} of {aliases.model} by {', '.join(going.key)}, since {going.started_at}: {going.reason}")
    builds = {arm.name: arm.build for arm in going.arms}
    for name, share in shares_of(going).items():
        click.echo(f"    {name}  {builds.get(name, aliases.champion)}  {share:.1%}")
