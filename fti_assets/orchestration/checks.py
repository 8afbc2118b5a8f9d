"""Rules as asset checks: one check a rule, each with its own history."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import dagster as dg
import numpy as np

from fti_assets.core.rules import Rule, Verdict


def check_specs(key: dg.AssetKey, rules: Iterable[Rule]) -> list[dg.AssetCheckSpec]:
    """The spec of each rule; one that only warns does not block."""
    return [
        dg.AssetCheckSpec(rule.name, asset=key, description=rule.description, blocking=rule.blocking) for rule in rules
    ]


def check_result(key: dg.AssetKey, verdict: Verdict) -> dg.AssetCheckResult:
    """The result of one rule, with the count and a sample of what failed."""
    metadata: dict[str, Any] = {"failures": verdict.failures, **verdict.facts}
    if verdict.problem:
        metadata["problem"] = verdict.problem
    if verdict.sample:
        metadata["sample"] = dg.MetadataValue.table(
            [dg.TableRecord({str(name): _plain(value) for name, value in row.items()}) for row in verdict.sample]
        )
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=verdict.rule.name,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.ERROR if verdict.rule.blocking else dg.AssetCheckSeverity.WARN,
        description=verdict.problem or None,
        metadata=metadata,
    )


def refusal(problem: str) -> dg.Failure:
    """What ends a step after its failed checks: it says on the run's page what is wrong, and trying again cannot help."""
    return dg.Failure(problem, allow_retries=False)


def _plain(value: Any) -> str | int | float | bool | None:
    import pandas as pd

    # Dagster's tables take plain values only; a NaN would be no JSON.
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    return value if isinstance(value, str | int | float | bool) else str(value)


def preview(rows: Any, *, limit: int = 5) -> dg.TableMetadataValue:
    """The first few rows of a DuckDB relation, for the asset's page, their fractions to six digits."""
    records = rows.limit(limit).df().to_dict("records")
    return dg.MetadataValue.table(
        [dg.TableRecord({str(name): _short(_plain(value)) for name, value in row.items()}) for row in records],
        schema=dg.TableSchema(
            [dg.TableColumn(str(name), str(kind)) for name, kind in zip(rows.columns, rows.types, strict=True)]
        ),
    )


def _short(value: Any) -> Any:
    """A fraction to six digits in all; what stands before the point is kept whole."""
    if not isinstance(value, float) or not math.isfinite(value) or value == 0:
        return value
    return round(value, max(5 - math.floor(math.log10(abs(value))), 0))
