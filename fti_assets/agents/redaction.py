"""Which values an agent is not shown: what some prediction log keeps out of tables, wherever else it stands."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitors.quality.redaction import MASK as MASK
from fti_assets.orchestration.declaration import Declaration


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
            view = log.model.view
            for selection in (*view.selections, *(label.column for label in view.labels.values())):
                prefix = selection.feature_prefix
                # Of a selection of everything the columns are not declared: what a name may be counts.
                features = {name: name.removeprefix(prefix) for name in log.redact if name.startswith(prefix)}
                keys = {selection.spine_keys.get(key, key): key for key in selection.group.keys}
                hidden = {column for name, column in (features | keys).items() if name in log.redact}
                columns[selection.group.table_name] |= hidden
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

    def in_words(self, value: Any) -> Any:
        """Plain values without what texts say of redacted fields as ``shop=a``: slices, and words about rows."""
        if not self.names:
            return value
        if isinstance(value, Mapping):
            return {self.in_words(name): self.in_words(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.in_words(one) for one in value]
        return self._pairs.sub(rf"\1={MASK}", value) if isinstance(value, str) else value

    @cached_property
    def _pairs(self) -> re.Pattern[str]:
        names = "|".join(map(re.escape, sorted(self.names, key=len, reverse=True)))
        return re.compile(rf"""(?<!\w)({names})=('[^']*'|"[^"]*"|\(redacted\)|[^\s,;)]+)""")

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
