"""Search over what is declared: names, columns, tags, owners and descriptions."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from fti_assets.alerts.alerts import ALERTS, Alerts
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import versioned_name
from fti_assets.describe.loading import load_definitions
from fti_assets.describe.watching import alerts_facts
from fti_assets.errors import DeclarationError
from fti_assets.experiments.experiment import Experiment
from fti_assets.features.groups.columns import COLUMN_SCHEMA
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitors.monitor import Monitor
from fti_assets.monitors.parity.parity import Parity
from fti_assets.orchestration.declaration import Declaration, declaration_of, walk
from fti_assets.reviews.review import Review
from fti_assets.training.composites.composite import Composite
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.models.model import Model
from fti_assets.training.views.view import FeatureView

_KINDS = {
    FeatureGroup: "feature group",
    TrainingDataset: "training dataset",
    Model: "model",
    Composite: "composite",
    BatchPredictions: "batch predictions",
    PredictionLog: "prediction log",
    Monitor: "monitor",
    Parity: "parity",
    Experiment: "experiment",
    Review: "review",
}
_PLACES = ("name", "column", "tag", "owner", "description")
_LONGEST = 80


@dataclass(frozen=True)
class Match:
    """One declaration that matches: what it is, and where the words were found, ``"column late_rate_3h"``."""

    kind: str
    name: str
    matched: tuple[str, ...]
    description: str = ""
    owners: tuple[str, ...] = ()


class Results(list[Match]):
    """What was found, best first; a notebook shows it as a table."""

    def __repr__(self) -> str:
        if not self:
            return "nothing was found"
        rows = [_HEADER, *map(_cells, self)]
        widths = [max(len(row[number]) for row in rows) for number in range(len(_HEADER))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in _HEADER)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(one)) + "</tr>" for one in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_HEADER = ("kind", "name", "found in", "owners", "description")


def _cells(one: Match) -> tuple[str, ...]:
    cells = (one.kind, one.name, ", ".join(one.matched), ", ".join(one.owners), " ".join(one.description.split()))
    return tuple(cell if len(cell) <= _LONGEST else f"{cell[: _LONGEST - 3]}..." for cell in cells)


@dataclass(frozen=True)
class _Entry:
    """Everything of a declaration that can be searched; each text with the place where it stands."""

    kind: str
    name: str
    texts: tuple[tuple[str, str, str], ...]
    description: str = ""
    owners: tuple[str, ...] = ()


@checked_arguments()
def search(text: str, definitions: dg.Definitions | Sequence[Any] | str | Path | None = None) -> Results:
    """Find feature groups, views, datasets, models, predictions, on-demand functions, monitors, alerts and other assets.

    All words of the text must occur, anywhere and in any case: in names, columns and what their schema says about them, tags,
    owners, descriptions.

    Args:
        text: one or more words.
        definitions: ``dg.Definitions``, a list of declarations, or the file of the definitions; ``definitions.py`` in the
            working directory by default.

    Returns:
        What was found, hits in the name first, each with where the words were found.

    Raises:
        DeclarationError: there is no word, or no definitions.

    >>> from fti_assets import feature_group
    >>> @feature_group(keys=["carrier"], owners=["team:delays"], description="How late a carrier was.")
    ... def carrier_delays(): ...
    >>> search("delay", [carrier_delays])
    kind           name               found in                 owners       description
    feature group  carrier_delays_v1  name, owner team:delays  team:delays  How late a carrier was.
    """
    words = text.casefold().split()
    if not words:
        raise DeclarationError("search needs at least one word, such as search('delay')")
    if definitions is None or isinstance(definitions, str | Path):
        definitions = load_definitions(file=definitions or "definitions.py")
    hits = [hit for entry in _entries(definitions) if (hit := _hit(entry, words)) is not None]
    return Results(match for _, match in sorted(hits, key=lambda hit: (hit[0], hit[1].name, hit[1].kind)))


def _hit(entry: _Entry, words: Sequence[str]) -> tuple[tuple[int, ...], Match] | None:
    """How good a hit is, the smaller the better, and what is shown; None where a word is missing.

    A word counts where it is found best.
    """
    hits = [
        (place, content, [word for word in words if word in text.casefold()]) for place, content, text in entry.texts
    ]
    ranks = []
    for word in words:
        places = [_PLACES.index(place) for place, _, matching in hits if word in matching]
        if not places:
            return None
        ranks.append(min(places))
    matches = dict.fromkeys(f"{place} {content}".strip() for place, content, matching in hits if matching)
    score = (sum(ranks), int(not entry.name.startswith(words[0])), len(entry.name))
    return score, Match(entry.kind, entry.name, tuple(matches), entry.description, entry.owners)


def _entries(definitions: dg.Definitions | Sequence[Any]) -> Iterable[_Entry]:
    entries: Iterable[_Entry]
    if isinstance(definitions, dg.Definitions):
        assets = definitions.get_repository_def().assets_defs_by_key.items()
        entries = [one for key, asset in assets for one in _of_asset(asset.get_asset_spec(key), declaration_of(asset))]
        alerts = (definitions.resources or {}).get(ALERTS)
        entries += [_of_alerts(alerts)] if isinstance(alerts, Alerts) else []
    else:
        entries = _of_list(definitions)
    by_name: dict[tuple[str, str], _Entry] = {}
    for entry in entries:  # a view stands in each dataset that is made of it
        by_name.setdefault((entry.kind, entry.name), entry)
    return by_name.values()


def _of_list(declarations: Iterable[Any]) -> Iterator[_Entry]:
    for declaration in declarations:
        match declaration:
            case FeatureView():
                yield from _of_view(declaration)
                yield from _of_list(declaration.groups)
            case OnDemand():
                yield _of_on_demand(declaration)
            case Declaration():
                for one in walk([declaration]):
                    yield from _of_asset(one.assets_def.get_asset_spec(one.key), one)
            case _:
                raise DeclarationError(
                    f"{declaration!r} is not a declaration: give feature groups, views, datasets, models, predictions, on-demand "
                    "features or dg.Definitions"
                )


def _of_asset(spec: dg.AssetSpec, declaration: Declaration | None) -> Iterator[_Entry]:
    kind = next((name for of, name in _KINDS.items() if isinstance(declaration, of)), "asset")
    name, description, owners = spec.key.to_user_string(), spec.description or "", tuple(spec.owners)
    columns = [(column, "") for column in getattr(declaration, "keys", ())]
    schema = spec.metadata.get(COLUMN_SCHEMA)
    if schema is not None:
        columns = [(column.name, column.description or "") for column in getattr(schema, "value", schema).columns]
    texts = [
        ("name", "", name),
        *(("column", column, f"{column} {meaning}") for column, meaning in columns),
        *(
            ("tag", tag_text, tag_text)
            for tag_text in (f"{key}={value}" if value else key for key, value in spec.tags.items())
        ),
        *(("owner", owner, owner) for owner in owners),
        ("description", "", description),
    ]
    yield _Entry(kind, name, tuple(texts), description, owners)
    if isinstance(declaration, TrainingDataset):
        yield from _of_view(declaration.view)


def _of_view(view: FeatureView) -> Iterator[_Entry]:
    labels = [f"{label.name} of {label.group.table_name}" for label in view.labels.values()]
    message = f"Features for each row of {view.spine.table_name}, to predict {' and '.join(labels)}"
    texts = [
        ("name", "", view.name),
        *(("column", name, name) for name in view.feature_names),
        ("description", "", message),
    ]
    yield _Entry("feature view", versioned_name(view.name, view.version), tuple(texts), message)
    yield from map(_of_on_demand, view.on_demand)


def _of_alerts(alerts: Alerts) -> _Entry:
    facts = alerts_facts(alerts)
    message = f"Tells {', '.join(facts['tells'])} of {facts['of']}"
    return _Entry("resource", ALERTS, (("name", "", ALERTS), ("description", "", message)), message)


def _of_on_demand(function: OnDemand) -> _Entry:
    message = (function.function.__doc__ or "").strip().partition("\n")[0]
    columns = [*(output.name for output in function.outputs), *function.inputs]
    texts = [("name", "", function.name), *(("column", name, name) for name in columns), ("description", "", message)]
    return _Entry("on-demand feature", versioned_name(function.name, function.version), tuple(texts), message)
