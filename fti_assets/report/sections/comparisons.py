"""Parity and rollouts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fti_assets.core.times import instant
from fti_assets.report.charts.parity_bars import parity_chart
from fti_assets.report.reading.comparisons import ExperimentFigures, ParityFigures
from fti_assets.report.reading.models import ModelHistory
from fti_assets.report.sections.elements import (
    Html,
    badge,
    broad,
    card,
    code,
    details,
    interval,
    note,
    nothing,
    part,
    problem,
    table,
    text,
    under,
)
from fti_assets.stores.models.rollouts import shares_of

_MOST_ROWS = 14


def parity_part(parities: Sequence[ParityFigures], most: int) -> Html:
    """Whether online and offline give the same, with so many differences at most."""
    if not parities:
        return part(
            "parity",
            "Parity",
            nothing(
                "No parity is declared. fti.parity(name=..., log=...) replays past requests and compares them with the lake of then."
            ),
        )
    return part("parity", "Parity", *(under(one.table, *_parity_of(one, most)) for one in parities))


def _parity_of(parity: ParityFigures, most: int) -> Iterator[Html]:
    if parity.problem or not parity.days:
        yield problem("Nothing to show:", parity.problem or "it has no rows of this time")
        return
    newest, days = parity.days[-1], parity.days
    breaks, breaches = sum(one.breaks for one in days), sum(one.breaches for one in days)
    compared = sum(one.compared for one in days)
    verdict = badge(f"{breaks:,} values differ", "bad") if breaks else badge("online is offline", "good")
    counts = (
        f"{compared:,} requests of {parity.of} were compared in {len(days)} partition{'s' if days[1:] else ''} until "
    )
    late = f"; {breaches:,} values rest on rows that came late."
    yield Html(f"<p>{verdict} {text(counts)}{text(newest.start)}{text(late)}</p>")
    caption = "a bar is what was compared, its pale end what could not be, a red dot a break, a yellow one a row that came late"
    yield broad(card("requests", parity_chart(days), caption))
    yield table(
        "What differs, breaks first",
        (
            "kind",
            "path",
            "feature",
            "key",
            "online",
            "offline",
            "online row of",
            "offline row of",
            "asked as of",
            "why",
        ),
        [
            (
                one.kind.replace("_", " "),
                one.path,
                one.feature,
                one.key,
                one.online,
                one.offline,
                one.online_time,
                one.offline_time,
                one.prediction_time,
                one.reason,
            )
            for one in parity.differences[:most]
        ],
    )
    yield table("What could not be compared", ("why", "requests"), parity.reasons)
    numbers = table(
        "By partition",
        ("partition", "compared", "not compared", "behind", "breaks", "late rows"),
        [
            (one.start, one.compared, one.not_compared, one.behind, one.breaks, one.breaches)
            for one in days[-_MOST_ROWS:]
        ],
    )
    yield details(f"The newest {_MOST_ROWS} partitions as numbers", numbers)


def rollout_part(models: Sequence[ModelHistory], experiments: Sequence[ExperimentFigures]) -> Html:
    """Which builds answer beside the champions, and what experiments say of them."""
    contents = [under(one.model, *_rollout_of(one)) for one in models if one.aliases.rollout or one.aliases.rollouts]
    contents += [under(one.table, *_experiment_of(one)) for one in experiments]
    if not contents:
        contents.append(
            nothing(
                "No build answers beside a champion. fti rollout start MODEL BUILD starts one, and fti.experiment(...) judges it."
            )
        )
    return part("rollout", "Rollout", *contents)


def _rollout_of(history: ModelHistory) -> Iterator[Html]:
    going, aliases = history.aliases.rollout, history.aliases
    if going is None:
        yield note(f"The champion {aliases.champion or 'none'} answers everything.")
    else:
        builds = {arm.name: arm.build for arm in going.arms}
        yield note(f"A {going.kind} by {', '.join(going.key)} since {going.started_at[:19]}: {going.reason}")
        yield table(
            "Arms",
            ("arm", "build", "share of the keys"),
            [(name, builds.get(name, aliases.champion), f"{share:.1%}") for name, share in shares_of(going).items()],
        )
    yield table(
        "What became of rollouts, the newest first",
        ("when", "what", "arms", "why"),
        [
            (
                instant(one.at),
                one.event,
                ", ".join(f"{name} {one.builds.get(name, '')} {share:.1%}" for name, share in one.shares.items()),
                one.reason,
            )
            for one in reversed(aliases.rollouts[-_MOST_ROWS:])
        ],
    )


def _experiment_of(experiment: ExperimentFigures) -> Iterator[Html]:
    if experiment.problem:
        yield problem("Nothing to show:", experiment.problem)
        return
    yield table(
        f"{experiment.figure} by arm",
        ("arm", "build", "keys", "share", "mean", "interval", "better by", "interval", "until", "verdict", "why"),
        [
            (
                one.arm, code(one.build), one.keys, "" if one.share is None else f"{one.share:.1%}", one.mean,
                interval(one.mean_low, one.mean_high),
                one.improvement, interval(one.improvement_low, one.improvement_high), one.until, one.verdict, one.reason,
            )
            for one in experiment.arms
        ],
    )  # fmt: skip
