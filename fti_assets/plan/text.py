"""A plan in plain words, short enough for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from fti_assets.errors import count_of
from fti_assets.plan.plan import Plan, PlannedAsset
from fti_assets.plan.stored import Estimate


def as_text(plan: Plan) -> str:
    """Write a plan for people."""
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"against {plan.against} at snapshot {plan.snapshot}"
    versions = [one for one in plan.assets if one.needs_version]
    run = [one for one in plan.assets if one.run]
    follow = [one for one in plan.assets if one.follow]
    outdated = [one for one in plan.assets if one.outdated and not one.needs_version]
    unknown = [one for one in plan.assets if one.unknown]
    if versions:
        yield "needs a new version, since what is stored cannot take its rows:"
        yield from (
            f"  {one.asset} ({one.kind}): {one.needs_version}; declare version=N+1 beside it" for one in versions
        )
    if run:
        yield "to be run:"
        yield from (_line(one, one.run) for one in run)
    if follow:
        yield "runs by itself after that, if what it reads has other rows:"
        yield from (_line(one, one.follow) for one in follow)
    if not versions and not run and not follow:
        yield "nothing is recomputed"
    if run or follow:
        yield f"in all {_estimate(plan.total)}"
    if outdated:
        yield "stays as it was made before:"
        yield from (f"  {one.asset} ({one.kind}): {_span(one.outdated)}" for one in outdated)
    for champion in plan.champions:
        of = f"rests on {', '.join(champion.tables)}" if champion.tables else "is touched"
        yield f"champion {champion.build} of {champion.model} {of}"
        if champion.refused:
            yield f"  this code refuses to serve it: {champion.refused}"
    if unknown:
        yield "made by code that nobody noted, such as of an earlier release:"
        yield from (f"  {one.asset} ({one.kind}): {_span(one.unknown)}" for one in unknown)
    stays = [one for one in plan.assets if one.stays and one not in run and one not in follow]
    if stays:
        yield f"untouched: {', '.join(f'{one.asset} ({one.stays})' for one in stays)}"
    if plan.commands:
        yield "what runs it:"
        yield from (f"  {command}" for command in plan.commands)


def _line(one: PlannedAsset, keys: tuple[str, ...]) -> str:
    return f"  {one.asset} ({one.kind}): {_span(keys)}, {_estimate(one.estimate)}{f': {one.why}' if one.why else ''}"


def _span(keys: tuple[str, ...]) -> str:
    ordered = sorted(keys)
    if len(ordered) == 1:
        return ordered[0]
    return f"{count_of(len(ordered), 'partition')}, {ordered[0]} to {ordered[-1]}"


def _estimate(estimate: Estimate) -> str:
    rows = "rows unknown" if estimate.rows is None else f"{estimate.rows:,} rows"
    if estimate.seconds is None:
        return f"{rows}, time unknown"
    return f"{rows}, {estimate.seconds / 60:.1f} min" if estimate.seconds >= 60 else f"{rows}, {estimate.seconds:.1f} s"
