"""What came of a run that somebody else's orchestrator asked for, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import dagster as dg

from fti_assets.errors import DeclarationError, SchemaChangedError, list_some

Status = Literal["materialized", "failed", "refused", "withheld", "stopped"]

EXIT_CODES: dict[Status, int] = {"materialized": 0, "failed": 1, "refused": 3, "withheld": 4, "stopped": 130}
"""What the command ends with; 2 is for what cannot be run at all, such as a partition that there is not."""

_INTERRUPTED = "dagster._core.errors.DagsterExecutionInterruptedError"
_OF_CODE = tuple(f"{one.__module__}.{one.__qualname__}:" for one in (SchemaChangedError, DeclarationError))
"""What a run fails of as long as the code is as it is."""
_METADATA = ("dagster/row_count", "dagster/partition_row_count", "snapshot", "build", "status")


@dataclass(frozen=True)
class Made:
    """What was materialized: an asset, its partition if it has one, the data version, and plain facts of it."""

    asset: str
    partition: str | None
    data_version: str | None
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """A check that did not pass, or could not be run well: whether it blocks, and what is wrong."""

    asset: str
    check: str
    passed: bool
    blocking: bool
    problem: str
    partition: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of all runs that one command made.

    Args:
        assets: that were to be materialized.
        partitions: of those that have some.
        unpartitioned: the assets that have none.
        runs: their ids.
        made: what was materialized.
        checks: what checks said.
        errors: why a run failed, the first reason first.
        seconds: how long it took.
    """

    assets: Sequence[str]
    partitions: Sequence[str]
    unpartitioned: Sequence[str]
    runs: Sequence[str]
    made: Sequence[Made]
    checks: Sequence[Check]
    errors: Sequence[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def refusals(self) -> list[Check]:
        """The checks that block, and did not pass."""
        return [check for check in self.checks if check.blocking and not check.passed]

    @property
    def status(self) -> Status:
        if any(error.startswith(_INTERRUPTED) for error in self.errors):
            return "stopped"
        if self.errors:
            is_refused = self.refusals or all(error.startswith(_OF_CODE) for error in self.errors)
            return "refused" if is_refused else "failed"
        return "withheld" if self.withheld else "materialized"

    @property
    def withheld(self) -> list[str]:
        """What was not materialized, each asset with its partition."""
        made = {(one.asset, one.partition) for one in self.made}
        whole: list[tuple[str, str | None]] = [(asset, None) for asset in self.unpartitioned]
        whole += [(asset, key) for asset in self.assets if asset not in self.unpartitioned for key in self.partitions]
        return [_named(*one) for one in whole if one not in made]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.status]

    @property
    def what(self) -> str:
        """The assets and partitions, as errors name them."""
        names = ", ".join(self.assets)
        if not self.partitions:
            return names
        first, last = self.partitions[0], self.partitions[-1]
        return f"{names} {first}" if first == last else f"{names} {first} to {last}"

    def as_json(self) -> str:
        """For machines."""
        content = {
            "assets": list(self.assets),
            "partitions": list(self.partitions),
            "status": self.status,
            "exit_code": self.exit_code,
            "seconds": round(self.seconds, 3),
            "runs": list(self.runs),
            "materialized": [
                {"asset": one.asset, "partition": one.partition, "data_version": one.data_version, **one.facts}
                for one in self.made
            ],
            "checks": [
                {
                    "asset": one.asset,
                    "check": one.check,
                    "partition": one.partition,
                    "passed": one.passed,
                    "blocking": one.blocking,
                    "problem": one.problem,
                }
                for one in self.checks
            ],
            "errors": list(self.errors),
        }
        return json.dumps(content, indent=2, allow_nan=False)

    def lines(self) -> Iterator[str]:
        """For people: what was made, and which checks warn."""
        for one in self.made:
            facts = [f"{name.removeprefix('dagster/').replace('_', ' ')} {value}" for name, value in one.facts.items()]
            version = [f"data version {one.data_version}"] if one.data_version else []
            yield "  ".join([_named(one.asset, one.partition), ", ".join([*facts, *version])])
        for check in self.checks:
            if not check.passed and not check.blocking:
                yield f"warning: {_named(check.asset, check.partition)} {check.check}: {check.problem}"

    def problem(self) -> str:
        """What is wrong, in one sentence."""
        match self.status:
            case "refused":
                by = f" by {list_some(dict.fromkeys(one.check for one in self.refusals))}" if self.refusals else ""
                return f"{self.what} was refused{by}: {self.errors[0]}"
            case "failed":
                return f"{self.what} failed: {self.errors[0]}"
            case "stopped":
                return f"{self.what} was stopped; what it had stored before is whole"
            case "withheld":
                failures = [f"{one.check}: {one.problem}" for one in self.checks if not one.passed]
                why = f", because of {'; '.join(failures)}" if failures else ""
                return f"the run succeeded, but {list_some(self.withheld)} is not materialized{why}"
        return ""


def _named(asset: str, partition: str | None) -> str:
    return asset if partition is None else f"{asset} {partition}"


def made_by(events: Sequence[dg.DagsterEvent]) -> Iterator[Made]:
    """What a run's events say was materialized."""
    for event in events:
        if event.event_type_value != "ASSET_MATERIALIZATION":
            continue
        one = event.step_materialization_data.materialization
        facts = {name: one.metadata[name].value for name in _METADATA if name in one.metadata}
        plain = {name: value for name, value in facts.items() if isinstance(value, str | int | float)}
        if "dagster/partition_row_count" in plain:  # the row count of its run, which may be of several partitions
            plain.pop("dagster/row_count", None)
        tags = one.tags or {}
        yield Made(one.asset_key.to_user_string(), one.partition, tags.get("dagster/data_version"), plain)


def checks_of(events: Sequence[dg.DagsterEvent]) -> Iterator[Check]:
    """What a run's checks said."""
    for event in events:
        if event.event_type_value != "ASSET_CHECK_EVALUATION":
            continue
        one = event.asset_check_evaluation_data
        problem = one.description or str(getattr(one.metadata.get("problem"), "value", ""))
        yield Check(
            one.asset_key.to_user_string(), one.check_name, one.passed, bool(one.blocking), problem, one.partition
        )


def errors_of(events: Sequence[dg.DagsterEvent]) -> Iterator[str]:
    """Why steps, or the run itself, failed: the innermost cause of each."""
    for event in events:
        if event.event_type_value == "STEP_FAILURE":
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                yield data.user_failure_data.description
            elif data.error is not None:
                yield _cause(data.error)
    for event in events:
        if event.event_type_value == "PIPELINE_FAILURE" and event.job_failure_data.error is not None:
            yield _cause(event.job_failure_data.error)


def _cause(error: Any) -> str:
    while error.cause is not None:
        error = error.cause
    return str(error.message).strip()
