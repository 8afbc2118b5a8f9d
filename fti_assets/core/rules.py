"""Rules that rows must keep, and how they kept them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from fti_assets.core.records import record


@record(frozen=True)
class Rule:
    """One rule that rows must keep; one that does not block only warns."""

    name: str
    description: str
    blocking: bool = True


@record(frozen=True)
class Verdict:
    """How rows kept one rule: how many failures, a few of them as records, what was wrong in words, and what was measured."""

    rule: Rule
    failures: int = 0
    sample: tuple[dict[str, Any], ...] = ()
    problem: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.failures == 0


def reasons(verdicts: Iterable[Verdict]) -> str:
    """Why rows were refused: the problems of every blocking rule that they broke."""
    return "; ".join(verdict.problem for verdict in verdicts if not verdict.passed and verdict.rule.blocking)


def worst(verdicts: Sequence[Sequence[Verdict]]) -> list[Verdict]:
    """One verdict a rule: the one with the most failures of all the parts of a run."""
    return [max(of_rule, key=lambda verdict: verdict.failures) for of_rule in zip(*verdicts, strict=True)]
