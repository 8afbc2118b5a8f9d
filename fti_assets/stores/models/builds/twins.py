"""Builds that are one model made twice."""

from __future__ import annotations

from fti_assets.core.manifest import ModelManifest


def are_twins(one: ModelManifest, other: ModelManifest) -> bool:
    """Whether two builds are of the same cutoff, code and data and measure the same: to go from one to the other changes nothing.

    Code is compared as far as its version tells, so the figures have to agree too.
    """
    return _made_of(one) == _made_of(other)


def _made_of(build: ModelManifest) -> tuple[object, ...]:
    dataset = build.dataset
    return (
        build.kind,
        build.version,
        build.cutoff,
        build.code_version,
        (dataset.name, dataset.version, dataset.partition, dataset.data_version),
        build.composite,
        build.metrics,
        build.sha256 if build.kind == "graph" else "",  # of a graph that was published as it was nothing else is known
    )
