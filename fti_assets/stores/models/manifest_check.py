"""What a build's manifest must say beyond the types of its fields, so that nothing later stumbles over it or answers otherwise."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import PurePath

from fti_assets.core.manifest import OUTPUT_NAMES, ModelManifest, ViewRecord
from fti_assets.core.sql import is_name
from fti_assets.core.times import instant, microseconds
from fti_assets.core.types import INPUTS, SIDES, ColumnType
from fti_assets.errors import DamagedError, excerpt, list_some, one_of

_LONGEST = microseconds(timedelta.max)


def check_manifest(manifest: ModelManifest, *, what: str) -> None:
    """Refuse a manifest that no build of this library has.

    Args:
        what: where it is from, for the error.

    Raises:
        DamagedError: its outputs, classes, inputs, view, times or files cannot be; one sentence says which.
    """
    problem = problem_of(manifest)
    if problem is not None:
        raise DamagedError(f"{what} {problem}. Restore the file from a copy, or use another build")


def problem_of(manifest: ModelManifest) -> str | None:
    """The first thing that a manifest says and no build of this library has, None if there is none."""
    return next(_problems(manifest), None)


def _problems(manifest: ModelManifest) -> Iterator[str]:
    until = manifest.dataset.trained_until
    for moment in (manifest.cutoff, manifest.created_at, *(() if until is None else (until,))):
        try:
            instant(moment)
        except ValueError:
            yield f"has {excerpt(moment)} where an instant in ISO text belongs"
    for name in manifest.files:
        if PurePath(name).name != name:
            yield f"names {excerpt(name)} as a file of the build: a plain name is expected"
    parts = manifest.dataset.random_parts
    if parts is not None and not all(parts.columns):
        yield f"says that it was split by the hash of {excerpt(parts.columns)}: names of columns are expected"
    if parts is not None and not (
        parts.test > 0 and parts.validation >= 0 and parts.test + parts.validation < 1 and parts.seed >= 0
    ):
        yield f"says that it was split by hash by {excerpt(parts)}: shares whose sum is below 1 and a seed from 0 on are expected"
    view = manifest.view
    if manifest.kind == "graph":
        if manifest.inputs or manifest.outputs or view.features:
            yield "is of the kind 'graph', a graph that was published as it is, and yet names inputs, outputs or features"
        return
    output = OUTPUT_NAMES[manifest.task]
    names = [one.name for one in manifest.outputs]
    if output not in names:
        yield f"has the outputs {list_some(names) if names else 'none'}: {output!r} is that of the task {manifest.task!r}"
    if manifest.answers_by_name and (not manifest.classes or len(set(manifest.classes)) < len(manifest.classes)):
        yield f"has the classes {excerpt(manifest.classes)}: a {manifest.task} model has some, each once"
    yield from _problems_of_composite(manifest)
    for name, encoder in manifest.encoders.items():
        if isinstance(encoder, dict) and not _are_values(encoder.get("categories", [])):
            yield f"has an encoder of {excerpt(name)} with the categories {excerpt(encoder['categories'])}: a list of values is expected"
    yield from _problems_of_windows(manifest.view)
    yield from _problems_of_times(view)
    yield from _problems_of_names(view)
    yield from _problems_of_columns(manifest)


def _are_values(categories: object) -> bool:
    return isinstance(categories, list | tuple) and not any(isinstance(one, list | dict) for one in categories)


def _problems_of_composite(manifest: ModelManifest) -> Iterator[str]:
    composite = manifest.composite
    if (composite is None) == (manifest.task == "composite"):
        yield f"is of the task {manifest.task!r} and says {'not ' if composite is None else ''}what it is composed of"
    if composite is None:
        return
    names = [member.model for member in composite.members]
    answers = composite.answers
    if not names or len(set(names)) < len(names) or len(set(answers)) < len(answers) or not all(answers):
        yield f"is made of the models {excerpt(names)} with the answers {excerpt(answers)}: some are expected, each once"
    if strangers := [model for model in composite.feeds.values() if model not in names]:
        yield f"fills features with the answers of {excerpt(strangers)}: it is made of {one_of(names)}"
    own = tuple(output.name for output in composite.function.outputs) if composite.function else answers
    if own != manifest.classes:
        yield f"has the classes {excerpt(manifest.classes)}, but its answers are {excerpt(own)}"


def _problems_of_times(view: ViewRecord) -> Iterator[str]:
    durations = [(f"the serving delay of the group {excerpt(one.group)}", one.serving_delay_us) for one in view.joins]
    durations += [
        (f"the ttl of the group {excerpt(one.group)}", one.ttl_us) for one in view.joins if one.ttl_us is not None
    ]
    durations.append(("the serving delay of the spine", view.times.serving_delay_us))
    for what, value in durations:
        if not 0 <= value <= _LONGEST:
            yield f"has {excerpt(value)} microseconds as {what}: between 0 and {_LONGEST} is expected"


def _problems_of_windows(view: ViewRecord) -> Iterator[str]:
    """What no window that is computed at the time of a request can be."""
    for group in view.joins:
        if (windows := group.windows) is None:
            continue
        what = f"the windows of the group {excerpt(group.group)}"
        if not is_name(windows.source) or windows.source_version < 1:
            yield f"has {excerpt(windows.source)}, version {excerpt(windows.source_version)}, as the source of {what}"
        if group.event_time is None:
            yield f"has no event time for {what}"
        if not windows.lengths or not windows.aggregates:
            yield f"has no length or no aggregate of {what}"
            continue
        durations = [windows.every_us, *(one.us for one in windows.lengths)]
        durations += [one.per_us or 0 for one in windows.aggregates if one.kind == "rate"]
        for value in durations:
            if not 0 < value <= _LONGEST:
                yield f"has {excerpt(value)} microseconds in {what}: between 1 and {_LONGEST} is expected"
        if impossible := [one for one in windows.aggregates if one.problem]:
            yield f"has {excerpt(impossible[0].name)} in {what}, which {impossible[0].problem}"
            continue
        if len(windows.columns) < len(windows.lengths) * sum(one.n for one in windows.aggregates):
            yield f"names a column of {what} twice"
        names = {*windows.columns, *(key.group for key in group.keys)}
        if strangers := [one.column for one in group.columns if one.column not in names]:
            yield f"takes {excerpt(strangers[0])} from {what}, which have {one_of(windows.columns)}"


def _problems_of_names(view: ViewRecord) -> Iterator[str]:
    for what, name, version in [
        ("spine", view.spine, view.spine_version),
        *(("group", one.group, one.version) for one in view.joins),
    ]:
        if not is_name(name):
            yield f"names the {what} {excerpt(name)}: names are [a-z_][a-z0-9_]*"
        if version < 1:
            yield f"names version {excerpt(version)} of the {what} {name!r}: versions count from 1"
    for one in view.joins:
        if not one.keys:
            yield f"joins the group {one.group!r} by no key"


def _problems_of_columns(manifest: ModelManifest) -> Iterator[str]:
    """What is taken from nowhere, and inputs that cannot be filled."""
    view = manifest.view
    types: dict[str, ColumnType] = {column.name: column.type for column in view.request}
    if view.prediction_time is not None:
        types[view.prediction_time] = "timestamp"
    keys = [key.spine for group in view.joins for key in group.keys]
    yield from _from_nowhere("a group's key", keys, types)
    types |= {column.feature: column.type for group in view.joins for column in group.columns}
    for call in view.on_demand:
        yield from _from_nowhere(f"the on-demand function {excerpt(call.name)}", call.inputs, types)
        types |= {output.name: output.type for output in call.outputs}
    yield from _from_nowhere("the view", [feature.name for feature in view.features], types)
    if not manifest.inputs:
        yield "names no input of the graph"
    for one in manifest.inputs:
        yield from _from_nowhere(f"the graph's input {excerpt(one.name)}", one.features, types)
        kinds = [types[name] for name in one.features if name in types]
        fits = all(one.type in SIDES[kind].inputs for kind in kinds)
        is_vector = kinds == ["vector"] and one.dim is not None and one.dim > 0
        if "vector" in kinds or one.dim is not None:
            fits = is_vector and one.type == "float32"
        if not kinds or not fits or (len(kinds) > 1 and one.type != "float32" and {*kinds} != {"timestamp"}):
            filling = f"{list_some(one.features)} of types {one_of(kinds)}" if kinds else "nothing"
            yield (
                f"fills the graph's input {excerpt(one.name)}, {INPUTS[one.type].tensor}, with {filling}: that is no input that a "
                "model of this library has"
            )


def _from_nowhere(what: str, names: "list[str] | tuple[str, ...]", types: dict[str, ColumnType]) -> Iterator[str]:
    for name in names:
        if name not in types:
            yield f"takes {excerpt(name)} for {what} from nowhere: there are {one_of(types)}"


def verdict_of(manifest: ModelManifest) -> str:
    """What the gates said of a build, in a few words."""
    failures = [verdict.gate for verdict in manifest.gates if not verdict.passed]
    return f"{manifest.status}: {', '.join(failures)}" if failures else manifest.status
