"""The card of a composite's build: of which builds it is made, how they stand together, and where each of them is described."""

from __future__ import annotations

from collections.abc import Sequence

from fti_assets.core.manifest import ModelManifest
from fti_assets.training.models.card import features_table, not_held_against, table


def composite_card(manifest: ModelManifest, members: Sequence[ModelManifest]) -> str:
    """The card of a build, as Markdown.

    Args:
        manifest: of the composite's build.
        members: the manifests of the builds that it is made of.
    """
    composite = manifest.composite
    assert composite is not None  # it is a composite's
    sections = [
        f"# {manifest.model} v{manifest.version}",
        f"Build `{manifest.build}`: a composite of {len(members)} models over the spine `{manifest.view.spine_table.name}`, made at "
        f"{manifest.created_at} UTC.",
        "## Models",
        table(
            ("model", "build", "task", "cutoff", "test metrics"),
            [(one.model, f"`{one.reference}`", one.task, one.cutoff, _metrics(one)) for one in members],
        ),
        "The card of each is beside its own build.",
        "## Answers",
        _answers(manifest),
        "## Features",
        features_table(manifest),
    ]
    notes = [f"- **warning**: {warning}" for warning in manifest.warnings] + not_held_against(manifest.view)
    if notes:
        sections[4:4] = ["\n".join(notes)]
    return "\n\n".join(sections) + "\n"


def _metrics(member: ModelManifest) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in member.metrics.items())


def _answers(manifest: ModelManifest) -> str:
    composite = manifest.composite
    assert composite is not None
    lines = [
        f"- `{field}` is what `{model}` answers, for the models behind it" for field, model in composite.feeds.items()
    ]
    call = composite.function
    if call is None:
        lines.append(f"- an answer is what the models answer: {', '.join(f'`{name}`' for name in manifest.classes)}")
    else:
        lines.append(
            f"- an answer is what `{call.name}` version {call.version} makes of {', '.join(f'`{name}`' for name in call.inputs)}: "
            f"{', '.join(f'`{name}`' for name in manifest.classes)}"
        )
    return "\n".join(lines)
