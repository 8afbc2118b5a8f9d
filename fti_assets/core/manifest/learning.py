"""How a training went, as records: what was noted of each epoch."""

from fti_assets.core.records import record


@record(frozen=True)
class EpochRecord:
    """What was noted of an epoch of the ``fit``-th call of ``data.fit``; of loops of the user's own, ``fit`` is 0."""

    fit: int
    epoch: int
    metrics: dict[str, float]


@record(frozen=True)
class LearningRecord:
    """The seed of a run, and its epochs in the order in which they were trained."""

    seed: int
    epochs: tuple[EpochRecord, ...]
