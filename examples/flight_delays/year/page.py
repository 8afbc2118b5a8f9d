"""What became of a year, as text and as a page of the docs: each figure is one that the replay measured."""

from __future__ import annotations

from collections.abc import Iterator

from examples.flight_delays.year.replay import Story, Timeline
from examples.flight_delays.year.story import FIRST, LAST
from examples.flight_delays.year.system import LEFT_OUT


def account(timeline: Timeline) -> Iterator[str]:
    """The timeline as lines of text."""
    yield f"\n{'week':12}{'flights':>9}{'ROC-AUC':>9}{'log loss':>10}   builds"
    for week in timeline.weeks:
        builds = ", ".join(f"{build} ({rows:,})" for build, rows in week.builds.items())
        yield (
            f"{week.start:%Y-%m-%d}  {week.rows:>9,}{week.values['roc_auc']:>9.4f}{week.values['log_loss']:>10.4f}   {builds}"
        )
    yield "\nbuilds"
    for build in timeline.builds:
        yield (
            f"  {build.created_at[:10]} {build.reference} {build.status}, ROC-AUC {build.metrics['roc_auc']:.4f}: "
            f"{build.trained_because or 'by hand'}"
        )
    yield "\nCPU seconds by part"
    for part, seconds in sorted(timeline.cpu_s.items(), key=lambda one: -one[1]):
        yield f"  {part:26}{seconds:>8.0f}"


def write_page(timeline: Timeline, story: Story) -> str:
    """The page of the docs."""
    parts = (_about, _happened, _builds, _weeks, _cost)
    return "\n".join(line for part in parts for line in part(timeline, story)) + "\n"


def _about(timeline: Timeline, story: Story) -> Iterator[str]:
    rows = sum(week.rows for week in timeline.weeks)
    whole = (
        "" if (story.first, story.last) == (FIRST, LAST) else f" This is a part: the whole is from {FIRST} to {LAST}."
    )
    yield f"""# A year unattended

`make year` replays the flights of 2013 day by day on a set clock, from {story.first} to {story.last}, and wrote this page. Files
from {story.history} on have already landed when the system is switched on. Each morning at 06:00 UTC the files of the previous day land.
Then the system's own sensors and automation conditions are evaluated minute by minute, and their requests are run, until there are no
more requests. Nobody runs an asset by hand: people only deploy.{whole}

The sources, their sensor, the groups and the on-demand features are the flagship's own. Some groups are left out so that a year takes
minutes: {", ".join(f"`{name}`" for name in LEFT_OUT)}. The model is gradient boosting with at most 150 trees on 90 days, with
daily cutoffs. It is retrained on a schedule, on drift and on a loss of quality, and rolled back automatically. The newest accepted build
with a cutoff before a day predicts that day. It does so on the following morning, with features as they were an hour before each departure.

![ROC-AUC of what was served, by week, with the builds and the file faults](images/year.svg)

The quality of each of the {len(timeline.weeks)} weeks ({rows:,} flights), as recorded in the monitor's table, was compared with an
offline evaluation of the stored answers against the labels in the correct files. The numbers of rows, the builds, ROC-AUC and log loss
are equal to the last digit.
"""


def _happened(timeline: Timeline, _: Story) -> Iterator[str]:
    yield "## What happened\n"
    yield "| day | what |\n|---|---|"
    for event in timeline.events:
        yield f"| {event.at:%Y-%m-%d} | {_cell(event.what)} |"


def _builds(timeline: Timeline, _: Story) -> Iterator[str]:
    yield "\n## Builds\n"
    rejected, back = len(timeline.rejected), len(timeline.rollbacks)
    yield (
        f"{len(timeline.builds)} builds were trained. The gates rejected {rejected} of them. Rollbacks on evidence from "
        f"fresh labels: {back}.\n"
    )
    yield "| trained | build | ROC-AUC on its test rows | verdict | reason |\n|---|---|---|---|---|"
    for build in timeline.builds:
        failed = ", ".join(gate.gate for gate in build.gates if not gate.passed)
        cells = [
            build.created_at[:10],
            build.reference,
            f"{build.metrics['roc_auc']:.4f}",
            f"{build.status}{f': {failed}' if failed else ''}",
            _cell(build.trained_because),
        ]
        yield f"| {' | '.join(cells)} |"


def _weeks(timeline: Timeline, _: Story) -> Iterator[str]:
    yield "\n## Served quality by week\n"
    yield "| week from | flights | ROC-AUC | 95% interval | log loss | builds |\n|---|---|---|---|---|---|"
    for week in timeline.weeks:
        cells = [
            f"{week.start:%Y-%m-%d}",
            f"{week.rows:,}",
            f"{week.values['roc_auc']:.4f}",
            "" if week.low is None or week.high is None else f"{week.low:.4f} to {week.high:.4f}",
            f"{week.values['log_loss']:.4f}",
            ", ".join(week.builds),
        ]
        yield f"| {' | '.join(cells)} |"


def _cost(timeline: Timeline, _: Story) -> Iterator[str]:
    every = timeline.cpu_s.get("all", 0.0)
    yield "\n## What it costs\n"
    yield f"{every / 60:.1f} CPU minutes in one process, {every / max(timeline.days, 1):.1f} CPU seconds per day.\n"
    yield "| part | CPU s |\n|---|---|"
    for part, seconds in sorted(timeline.cpu_s.items(), key=lambda one: -one[1]):
        if part != "all":
            yield f"| {part} | {seconds:.0f} |"


def _cell(text: str) -> str:
    """A cell of a table: bars and line ends would end it."""
    return " ".join(text.replace("|", "\\|").split())
