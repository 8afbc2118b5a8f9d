"""Which values an agent is not shown: what some prediction log keeps out of tables, wherever else it stands."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fti_assets.inference.log.log import PredictionLog
from fti_assets.orchestration.declaration import Declaration

MASK = "(redacted)"


@dataclass(frozen=True)
class Redaction:
    """Columns that are masked: by their name in every table, and of single tables under the group's own name for them."""

    names: frozenset[str] = frozenset()
    columns: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @staticmethod
    def of(declarations: Iterable[Declaration]) -> Redaction:
        """What the logs of a system redact.

        A feature that is redacted is its group's column too, and a field by which a group is joined is the group's key.
        """
        names: set[str] = set()
        columns: dict[str, set[str]] = defaultdict(set)
        for log in declarations:
            if not isinstance(log, PredictionLog) or not log.redact:
                continue
            names |= log.redact
            for selection in log.model.view.selections:
                table = selection.group.table_name
                features = {f"{selection.feature_prefix}{column}": column for column in selection.columns}
                keys = {selection.spine_keys.get(key, key): key for key in selection.group.keys}
                columns[table] |= {column for name, column in (features | keys).items() if name in log.redact}
        return Redaction(frozenset(names), {table: frozenset(some) for table, some in columns.items()})

    def masked(self, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of a table, such as ``weather_v1``, without what is redacted; JSON within it, too."""
        hidden = self.names | self.columns.get(table, frozenset())
        if not hidden:
            return dict(row)
        # A row that names the feature that it is about has its values under other names.
        about = {"online", "offline"} if row.get("feature") in hidden else set()
        return {
            name: MASK if (name in hidden or name in about) and value is not None else self._inside(value, hidden)
            for name, value in row.items()
        }

    def _inside(self, value: Any, hidden: frozenset[str]) -> Any:
        if isinstance(value, Mapping):
            return {name: MASK if name in hidden else self._inside(one, hidden) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._inside(one, hidden) for one in value]
        if isinstance(value, str) and value[:1] in ("{", "["):
            try:
                content = json.loads(value)
            except (ValueError, RecursionError):
                return value
            inside = self._inside(content, hidden)
            return value if inside == content else json.dumps(inside)
        return value
