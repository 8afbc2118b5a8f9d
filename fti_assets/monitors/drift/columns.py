"""What is compared of a row that was answered: its features, its label and its answer, and how each was spread when the build was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fti_assets.core.manifest import BY_NAME, OUTPUT_NAMES, Column, CompositeRecord, ModelManifest
from fti_assets.core.manifest.profiles import PROFILE, ColumnProfile, Profile
from fti_assets.core.records import from_json
from fti_assets.core.sql import literal, quote
from fti_assets.core.types import ColumnType, type_of_sql
from fti_assets.errors import StoreError
from fti_assets.monitoring.drift.counts import NUMBERS, CountedColumn
from fti_assets.monitoring.measurement import Subject
from fti_assets.monitors.answers.answered import ANSWER, Answered
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.datasets.profiling import binned_sql, projections_sql


@dataclass(frozen=True)
class WatchedColumn:
    """A column that is compared: what it is, how it is counted, and how it was spread when the build was made; None if nobody noted."""

    subject: Subject
    name: str
    counted: CountedColumn
    profile: ColumnProfile | None
    learned: tuple[str, ...] | None = None

    @property
    def has_bins(self) -> bool:
        """Whether its counts of any rows can be compared: the profile's edges are known, or it needs none."""
        return self.counted.type not in NUMBERS or bool(self.counted.edges)


def profile_of_build(store: ModelStore, manifest: ModelManifest) -> Profile | None:
    """How what a build learned from was spread, of a composite what its models learned from; None if an earlier release wrote none."""
    if manifest.composite is not None:
        return _profile_of_composite(store, manifest.composite)
    if PROFILE not in manifest.files:
        return None
    content = store.file(manifest, PROFILE)
    what = f"{PROFILE} of {manifest.model} {manifest.reference}"
    return from_json(Profile, content.decode(), what=what, remedy="train the model again")


def _profile_of_composite(store: ModelStore, composite: CompositeRecord) -> Profile | None:
    """Each feature as the first model that has it learned it, and each answer that is a model's own single number as that model gave it."""
    features: dict[str, ColumnProfile] = {}
    answers: list[ColumnProfile] = []
    label: ColumnProfile | None = None
    for member in composite.members:
        try:
            profile = profile_of_build(store, store.manifest(member.model, member.build))
        except StoreError:  # it is lost; the others are not
            continue
        if profile is None:
            continue
        features = {one.name: one for one in profile.features} | features
        label = label or profile.label
        if composite.function is None and len(member.answers) == len(profile.answers) == 1:
            answers.append(replace(profile.answers[0], name=f"{OUTPUT_NAMES['composite']}.{member.answers[0]}"))
    return None if label is None else Profile(tuple(features.values()), label, answers=tuple(answers))


def feature_columns(answers: Answered, manifest: ModelManifest, profile: Profile | None) -> Iterator[WatchedColumn]:
    profiles = {} if profile is None else {one.name: one for one in profile.features}
    for feature in manifest.view.features:
        if feature.name in answers.redacted:
            continue
        own = profiles.get(feature.name)
        own = own if own is not None and own.type == feature.type else None
        categories = manifest.encoders.get(feature.name, {}).get("categories")
        learned = tuple(map(str, categories)) if isinstance(categories, list) and feature.type == "text" else None
        edges, named = _bins(own)
        if own is not None and own.further_categories:
            # The profile names few: one that the model knows is not unknown because many are more frequent on that day.
            named = tuple(dict.fromkeys([*named, *(learned or ())]))
        counted = CountedColumn(
            feature.name, feature.type, edges, named, sql=_sql_of(feature), directions=_directions(own)
        )
        yield WatchedColumn("feature", f"{answers.prefix}{feature.name}", counted, own, learned)


def _sql_of(feature: Column) -> str:
    """The SQL of what is counted of a feature; empty for its own value."""
    return binned_sql(quote(feature.name), feature.type) if feature.type == "vector" else ""


def _directions(profile: ColumnProfile | None) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """The SQL of a vector's projections and their edges."""
    if profile is None or not profile.directions:
        return ()
    projections = projections_sql(quote(profile.name), profile.dim or 0)
    return tuple((sql, bins.edges) for sql, bins in zip(projections, profile.directions, strict=True))


def label_columns(answers: Answered, profile: Profile | None, table: str) -> Iterator[WatchedColumn]:
    """Each label of the model, of as many as there are."""
    profiles = {} if profile is None else {one.name: one for one in profile.labels or (profile.label,)}
    for name, column in answers.label_columns.items():
        kind = type_of_label(answers, table, column)
        own = profiles.get(name)
        own = own if own is not None and own.type == kind else None
        counted = CountedColumn(f"__fti_label.{name}", kind, *_bins(own), sql=column)
        yield WatchedColumn("label", f"{answers.prefix}{name}", counted, own)


def answer_columns(
    answers: Answered, manifest: ModelManifest | None, profile: Profile | None
) -> Iterator[WatchedColumn]:
    """The answer of a row: a number, the most probable class, or each of several numbers by its name; of lists none."""
    profiles = {} if profile is None else {one.name.partition(".")[2]: one for one in profile.answers}
    task = answers.model.task
    if answers.is_list or (manifest is None and task in BY_NAME):
        return
    if task == "multiclass":
        values = f"map_values({ANSWER})"
        top = f"map_keys({ANSWER})[list_position({values}, list_max({values}))]"
        own = profiles.get("")
        yield WatchedColumn(
            "prediction", answers.column, CountedColumn("__fti_answer", "text", *_bins(own), sql=top), own
        )
    elif task in BY_NAME:
        assert manifest is not None
        for name in manifest.classes:
            own = profiles.get(name)
            counted = CountedColumn(f"__fti_answer.{name}", "number", *_bins(own), sql=f"{ANSWER}[{literal(name)}]")
            yield WatchedColumn("prediction", f"{answers.column}.{name}", counted, own)
    else:
        own = profiles.get("")
        yield WatchedColumn(
            "prediction", answers.column, CountedColumn("__fti_answer", "number", *_bins(own), sql=ANSWER), own
        )


def _bins(profile: ColumnProfile | None) -> tuple[tuple[float, ...], tuple[str, ...]]:
    return ((), ()) if profile is None else (profile.edges, tuple(profile.categories))


def type_of_label(answers: Answered, table: str, column: str) -> ColumnType:
    """The type of a label's column among the answered rows."""
    [kind] = answers.lake.connection.sql(f"SELECT {column} FROM {table} LIMIT 0").types
    return type_of_sql(str(kind)) or "text"
