"""What was measured of each arm, by key: a key is what a rollout assigns, so it counts once, however often it asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np

from fti_assets.core.rollouts.rollout import CHAMPION
from fti_assets.core.sql import literal, quote, temporary_name, timestamp

UNIT, ARM, AT, FIGURE, PAIR = "unit", "arm", "at", "figure", "pair"
"""The columns of answers: the key, the arm, the prediction time, the figure (null without a label), and in a shadow the request."""


@dataclass(frozen=True)
class Sample:
    """What one arm has.

    Args:
        keys: how many keys it answered.
        rows: how many answers it gave them.
        unlabelled: how many of those have no label.
        figures: ``[n]``: the mean figure of each key that has one, float64.
    """

    keys: int
    rows: int
    unlabelled: int
    figures: np.ndarray


class Answers:
    """The answers of an experiment, old enough for their labels.

    Args:
        connection: the one that the rows belong to.
        rows: the quoted name of a relation with ``unit``, ``arm``, ``at``, ``figure``, and ``pair`` if each request was answered by
            both arms.
        arms: the champion and the others.
        paired: whether it was: then only requests count that both have answered, and have a label.
        keys_move: whether a key may come to another arm, as in a bandit: it counts in each.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        rows: str,
        arms: Sequence[str],
        *,
        is_paired: bool = False,
        keys_move: bool = False,
    ) -> None:
        self._connection, self._arms = connection, tuple(arms)
        self._rows, self._keys = (quote(temporary_name(kind)) for kind in ("answers", "keys"))
        within = f"arm IN ({', '.join(map(literal, arms))})"
        connection.execute(
            f"CREATE TEMP TABLE {self._rows} AS {self._paired_rows(rows) if is_paired else f'FROM {rows} WHERE {within}'}"
        )
        alone = "true" if is_paired or keys_move else "count(*) OVER (PARTITION BY unit) = 1"
        connection.execute(
            f'CREATE TEMP TABLE {self._keys} AS SELECT unit, arm, min("at") FILTER (figure IS NOT NULL) AS ready, {alone} AS alone '
            f"FROM {self._rows} GROUP BY unit, arm"
        )

    @property
    def keys_of_several_arms(self) -> int:
        """How many keys several arms have answered: servers that had not heard of the rollout yet, or could not load an arm.

        They say nothing of either, and are left out.
        """
        return self._count(f"SELECT count(DISTINCT unit) FROM {self._keys} WHERE NOT alone")

    def horizon(self, keys: int) -> datetime | None:
        """The instant by which each arm had so many keys with a label; None if one has not.

        It depends on who asked and when, never on the figures or on when somebody looks at them.
        """
        ready_times = self._connection.execute(
            f"SELECT arm, ready FROM {self._keys} WHERE alone AND ready IS NOT NULL "
            f"QUALIFY row_number() OVER (PARTITION BY arm ORDER BY ready) = {keys:d}"
        ).fetchall()
        return max(ready for _, ready in ready_times) if len(ready_times) == len(self._arms) else None

    def samples(self, until: datetime | None = None) -> dict[str, Sample]:
        """What each arm had at an instant, or has by now; the figures of keys that both arms have are in one order."""
        limit = "" if until is None else f' AND "at" <= {timestamp(until)}'
        table = quote(temporary_name("by_key"))
        self._connection.execute(
            f"CREATE TEMP TABLE {table} AS SELECT arm, unit, count(*) AS rows, count(figure) AS labelled, favg(figure) AS figure "
            f"FROM {self._rows} JOIN {self._keys} USING (unit, arm) WHERE alone{limit} GROUP BY arm, unit"
        )
        samples = {}
        for arm in self._arms:
            own = f"FROM {table} WHERE arm = {literal(arm)}"
            [(keys, rows, with_figure)] = self._connection.execute(
                f"SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(labelled), 0) {own}"
            ).fetchall()
            figures = self._connection.sql(f"SELECT figure {own} AND figure IS NOT NULL ORDER BY unit")
            values = np.asarray(figures.fetchnumpy()["figure"], dtype=np.float64)
            samples[arm] = Sample(int(keys), int(rows), int(rows) - int(with_figure), values)
        self._connection.execute(f"DROP TABLE {table}")
        return samples

    def _paired_rows(self, rows: str) -> str:
        [other] = [arm for arm in self._arms if arm != CHAMPION]
        both = f"FROM {rows} WHERE arm IN ({literal(CHAMPION)}, {literal(other)}) AND figure IS NOT NULL"
        return f"SELECT * {both} QUALIFY count(DISTINCT arm) OVER (PARTITION BY pair) = 2"

    def _count(self, sql: str) -> int:
        return int(self._connection.execute(sql).fetchall()[0][0])
