"""``fti stream``: takes the events of feature groups until it is stopped."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from fti_assets.cli.options import definitions, load_definitions, stores
from fti_assets.errors import DeclarationError, one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fti_assets.features.groups.group import FeatureGroup


def _instance(_: click.Context, __: click.Parameter, text: str) -> tuple[int, int]:
    place, mark, number = text.partition("/")
    if not (mark and place.isdecimal() and number.isdecimal() and 1 <= int(place) <= int(number)):
        raise click.BadParameter(f"{text!r} is no instance: write 1/2 for the first of two")
    return int(place), int(number)


@click.command()
@click.argument("names", metavar="GROUP...", nargs=-1, required=True)
@definitions
@stores("lake", "online")
@click.option(
    "--outbox",
    metavar="FOLDER",
    help="where events wait for the lake, a local disk that stays (default: outbox/ under FTI_HOME)",
)
@click.option(
    "--instance",
    default="1/1",
    show_default=True,
    callback=_instance,
    metavar="I/N",
    help="which of several services this is, which share the shards",
)
@click.option(
    "--flush-every", default="10s", show_default=True, metavar="DURATION", help="between two commits to the lake"
)
@click.option(
    "--report-every",
    default="1min",
    show_default=True,
    metavar="DURATION",
    help="between two events in Dagster of one partition at least",
)
@click.option(
    "--batch-ms", default=50, show_default=True, type=click.IntRange(1, 1_000), help="a micro-batch waits for events"
)
@click.option("--until-caught-up", is_flag=True, help="stop when all that the broker has is in the lake")
def stream(
    names: tuple[str, ...],
    file: str | None,
    module: str | None,
    lake: str | None,
    online: str | None,
    outbox: str | None,
    instance: tuple[int, int],
    flush_every: str,
    report_every: str,
    batch_ms: int,
    until_caught_up: bool,
) -> None:
    """Take the events of feature groups from their streams: online within a tenth of a second, in the lake with the next flush.

    It runs until SIGTERM or SIGINT, and flushes what it has taken before it ends. Each line of its log is JSON. The instance of
    DAGSTER_HOME is told which partitions have changed.
    """
    from fti_assets.core.times import duration
    from fti_assets.describe.loading import stores_of
    from fti_assets.features.groups.group import FeatureGroup
    from fti_assets.orchestration.declaration import declarations_of
    from fti_assets.streaming.reports import reporting
    from fti_assets.streaming.running import run
    from fti_assets.streaming.service import Settings

    loaded = load_definitions(file, module)
    chosen = stores_of(loaded, lake=lake, online=online)
    seconds = duration(flush_every, what="--flush-every").total_seconds()
    settings = Settings(
        instance=instance[0],
        instances=instance[1],
        batch_seconds=batch_ms / 1000,
        flush_seconds=seconds,
        until_caught_up=until_caught_up,
    )
    declared = [one for one in declarations_of(loaded) if isinstance(one, FeatureGroup)]
    groups = [_group(declared, name) for name in dict.fromkeys(names)]
    signals = (signal.SIGTERM, signal.SIGINT)
    pause = duration(report_every, what="--report-every").total_seconds()
    with reporting(groups, pause, _say) as flushed:
        run(groups, chosen, outbox, settings, say=_say, flushed=flushed, signals=signals, windows=declared)


def _group(declared: Sequence[FeatureGroup], name: str) -> FeatureGroup:
    """The newest version of a group with a stream, by its name, or the one of a name with its version."""
    groups = [one for one in declared if one.stream is not None]
    matches = [one for one in groups if name in (one.name, one.table_name)]
    if not matches:
        raise DeclarationError(
            f"no feature group {name!r} has a stream here: the groups with one are {one_of(sorted(one.table_name for one in groups))}"
        )
    return max(matches, key=lambda one: one.version)


def _say(what: str, **facts: Any) -> None:
    from fti_assets.core import clock

    line = {"at": f"{clock.now().isoformat(timespec='milliseconds')}Z", "event": what, **facts}
    print(json.dumps(line, default=str), file=sys.stderr, flush=True)
