"""What is said of a model's builds beside their manifests: who is champion, who was, and which arms there are."""

from dataclasses import field, replace

from fti_assets.core import clock
from fti_assets.core.manifest import GateVerdict, ModelManifest
from fti_assets.core.manifest.intervals import Interval
from fti_assets.core.records import record
from fti_assets.core.rollouts.rollout import Rollout
from fti_assets.errors import AliasConflictError


@record(frozen=True)
class BuildMetrics:
    """The metrics of a build on the test split of its own dataset, and where those lie that have an interval."""

    build: str
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    has_same_rows: bool


@record(frozen=True)
class Evidence:
    """What was known of a build when it became champion: its metrics on the test split, what each gate had said, where the metrics lie,
    and the same of the champion that it followed, which ``has_same_rows`` if both were measured on the same ones."""

    metrics: dict[str, float] = field(default_factory=dict)
    gates: tuple[GateVerdict, ...] = ()
    intervals: dict[str, Interval] = field(default_factory=dict)
    before: BuildMetrics | None = None

    @classmethod
    def of(cls, manifest: ModelManifest, champion: ModelManifest | None) -> "Evidence":
        """The evidence in a build's manifest, beside that of the champion before it, if there was one."""
        before = None
        if champion is not None and champion.reference != manifest.reference:
            is_same = _rows_of(champion) == _rows_of(manifest)
            before = BuildMetrics(champion.reference, dict(champion.metrics), dict(champion.intervals), is_same)
        return cls(dict(manifest.metrics), manifest.gates, dict(manifest.intervals), before)

    @property
    def comparison(self) -> list[str]:
        """The metrics of both builds in a line each; none if either has no metrics."""
        if self.before is None or not self.metrics or not self.before.metrics:
            return []
        lines = []
        for name in dict.fromkeys((*self.metrics, *self.before.metrics)):
            new, old = self.metrics.get(name), self.before.metrics.get(name)
            change = "" if new is None or old is None else f" ({new - old:+.3g})"
            values = (_figure(old, self.before.intervals.get(name)), _figure(new, self.intervals.get(name)))
            lines.append(f"{name}: {' -> '.join(values)}{change}")
        return lines


def _rows_of(manifest: ModelManifest) -> tuple[object, ...]:
    one = manifest.dataset
    return one.name, one.version, one.partition, one.data_version, one.random_parts


def _figure(value: float | None, interval: Interval | None) -> str:
    return "not measured" if value is None else f"{value:.6g}{f' ({interval.text})' if interval else ''}"


@record(frozen=True)
class FreshComparison:
    """A champion compared with its predecessor, on rows that neither has trained on.

    ``value`` is the champion's metric and ``previous_value`` that of ``previous``; ``behind`` is by how much the champion is worse, and
    ``interval`` where that lies, None if too few draws have both. The ``rows`` have prediction times from ``since`` to ``until``, naive
    UTC ISO text.
    """

    metric: str
    champion: str
    previous: str
    value: float
    previous_value: float
    behind: float
    interval: Interval | None
    rows: int
    since: str
    until: str

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval says that the champion is worse."""
        return self.interval is not None and self.interval.low > 0

    @property
    def text(self) -> str:
        """It in a sentence."""
        where = "" if self.interval is None else f" ({self.interval.text})"
        how = "worse than" if self.is_worse else "not shown to be worse than"
        period = f"{self.since[:16]} to {self.until[:16]}"
        return (
            f"{self.metric} {self.value:.6g} of {self.champion} is {how} {self.previous_value:.6g} of its predecessor "
            f"{self.previous} by {self.behind:.6g}{where}, on {self.rows:,} rows from {period} that neither has trained on"
        )


@record(frozen=True)
class RollbackProposal:
    """That a champion be rolled back: when that was proposed first (naive UTC ISO text), from what to what, on what evidence, in which
    run. A rollback ends it, and so does any other champion."""

    at: str
    champion: str
    to: str
    evidence: FreshComparison
    run_id: str = ""


@record(frozen=True)
class AliasChange:
    """One change of the champion: when (naive UTC ISO text), to what, from what, why, in which run or by whom, and on what evidence.

    ``by`` is empty for a run's own change, and ``evidence`` None in what earlier releases wrote. ``fresh`` is what a rollback rests on, if
    it was judged.
    """

    at: str
    champion: str
    previous: str | None
    reason: str
    run_id: str = ""
    by: str = ""
    evidence: Evidence | None = None
    fresh: FreshComparison | None = None

    @property
    def author(self) -> str:
        """Who or what made the change; empty if nobody noted it."""
        return self.by or (f"run {self.run_id}" if self.run_id else "")


@record(frozen=True)
class RolloutChange:
    """One change of a rollout: when (naive UTC ISO text), what became of it, the builds and shares of its arms then, and why."""

    at: str
    event: str
    builds: dict[str, str]
    shares: dict[str, float]
    reason: str


@record(frozen=True)
class UnpromotedBuild:
    """An accepted build that was to become champion and could not, as where another run had changed the champion meanwhile: which, when
    (naive UTC ISO text), why, and in which run."""

    build: str
    at: str
    reason: str
    run_id: str = ""


@record(frozen=True)
class RetiredBuilds:
    """Old builds that were deleted: when (naive UTC ISO text), which, by what policy, and by whom."""

    at: str
    builds: tuple[str, ...]
    policy: str
    by: str = ""


@record(frozen=True)
class Aliases:
    """Which build of a model serves, which ones served before it (oldest first), and which were rolled back; which builds answer
    beside it, what became of such rollouts (oldest first), which builds were deleted (oldest first), whether a rollback of the
    champion is proposed, and which builds were to become champion and could not."""

    model: str
    champion: str | None = None
    history: tuple[AliasChange, ...] = ()
    rolled_back: tuple[str, ...] = ()
    rollout: Rollout | None = None
    rollouts: tuple[RolloutChange, ...] = ()
    retired: tuple[RetiredBuilds, ...] = ()
    proposal: RollbackProposal | None = None
    unpromoted: tuple[UnpromotedBuild, ...] = ()
    format: int = 1

    @property
    def contradiction(self) -> str:
        """In words that the champion is another than the history ends with, as where somebody has edited the file; empty if it is not."""
        last = self.history[-1].champion if self.history else None
        if last == self.champion:
            return ""
        end = "has none" if last is None else f"ends with {last}"
        return f"names the champion {self.champion}, and its history {end}: somebody has edited it"

    @property
    def passed_over(self) -> frozenset[str]:
        """The accepted builds that nothing takes for a rival or an answer: those rolled back, and those that could not be promoted."""
        return frozenset((*self.rolled_back, *(one.build for one in self.unpromoted)))

    @property
    def arms(self) -> dict[str, str]:
        """The arms that answer beside the champion, by their builds."""
        return {arm.build: arm.name for arm in self.rollout.arms} if self.rollout is not None else {}


def with_rollout(aliases: Aliases, rollout: Rollout | None, event: str, reason: str) -> Aliases:
    """The aliases with another rollout, or none, and the change in their history."""
    latest = rollout or aliases.rollout
    arms = latest.arms if latest is not None else ()
    builds = {arm.name: arm.build for arm in arms}
    change = RolloutChange(clock.now().isoformat(), event, builds, {arm.name: arm.share for arm in arms}, reason)
    return replace(aliases, rollout=rollout, rollouts=(*aliases.rollouts, change))


def without_arm_of(aliases: Aliases, reference: str, reason: str) -> Aliases:
    """The aliases whose champion is the build: an arm of it has nothing left to compare, and ends; so does the rollout without arms."""
    rollout = aliases.rollout
    if rollout is None or all(arm.build != reference for arm in rollout.arms):
        return aliases
    rest = rollout.without(reference)
    return with_rollout(aliases, rest if rest.arms else None, f"{reference} became champion", reason)


def refuse_other_champion(aliases: Aliases, evidence: FreshComparison | None) -> None:
    """Raise an AliasConflictError if the evidence judged another champion than that of now."""
    if evidence is not None and aliases.champion != evidence.champion:
        raise AliasConflictError(
            f"the champion of model {aliases.model!r} is {aliases.champion or 'no build'}, not {evidence.champion}, which was judged: "
            "nothing was changed, judge the champion of now"
        )


def evidence_of_proposal(aliases: Aliases, to: str) -> FreshComparison | None:
    """What a proposal of a rollback rests on, if it is of this champion and to that build."""
    proposal = aliases.proposal
    if proposal is None or (proposal.champion, proposal.to) != (aliases.champion, to):
        return None
    return proposal.evidence
