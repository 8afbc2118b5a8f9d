"""Answered rows that are judged together: those of a build and an arm, or all of a partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from fti_assets.core.manifest import OUTPUT_NAMES, ModelManifest, Task
from fti_assets.monitors.quality.answered_rows import AnsweredRows, has_label, label_fits
from fti_assets.training.judging.metrics.answers import THRESHOLD, Answers, Thresholds, answers_of
from fti_assets.training.trainer.parts.labels import label_codes


@dataclass(frozen=True)
class Sample:
    """Answered rows, and what their answers mean.

    Args:
        rows: the rows.
        task: what the build does.
        classes: of several numbers, what they are called, in the order of the rows' answers.
        threshold: from which probability on the build says yes; None if nobody knows it any more.
        build, arm: whose rows they are; nothing over all.
        manifest: of the build, None over several or where it is lost.
        probabilities: calibrated ones of each row, as they are answered; None where there are none.
    """

    rows: AnsweredRows
    task: Task
    classes: tuple[str, ...]
    threshold: Thresholds | None
    build: str = ""
    arm: str = ""
    manifest: ModelManifest | None = field(default=None, repr=False)
    probabilities: np.ndarray | None = None

    def part(self, rows: np.ndarray) -> Sample:
        """Some of its rows, by position or by a mask."""
        return replace(
            self,
            rows=self.rows.part(rows),
            probabilities=None if self.probabilities is None else self.probabilities[rows],
        )

    @cached_property
    def is_answered(self) -> np.ndarray:
        """Which rows have an answer that is a number ``[n]``."""
        return np.asarray(np.isfinite(self.rows.answers.reshape(len(self.rows.labels), -1)).all(axis=1))

    @cached_property
    def is_whole(self) -> np.ndarray:
        """Which rows are as old as the label's maturity ``[n]``; of a ranking, with all rows of their list."""
        mature, queries = self.rows.mature, self.rows.queries
        if queries is None:
            return np.asarray(mature)
        return np.asarray(np.bincount(queries, weights=~mature)[queries] == 0)

    @cached_property
    def fits(self) -> np.ndarray:
        """Which rows have a label that the build could have learned ``[n]``."""
        return label_fits(self.rows.labels, self.task, self.classes)

    @property
    def strange_labels(self) -> int:
        """How many mature rows have a label that the build could not have learned."""
        return int((self.is_whole & has_label(self.rows.labels) & ~self.fits).sum())

    @property
    def is_judged(self) -> np.ndarray:
        """Which rows count ``[n]``."""
        return np.asarray(self.is_whole & self.fits & self.is_answered)

    def judged_answers(self) -> Answers:
        """All rows' answers beside their labels, as metrics take them; call it of judged rows."""
        y = label_codes(self.rows.labels, self.task, self.classes, what="the answered rows")
        return self._answers(y)

    def answers_alone(self) -> Answers:
        """The same without labels."""
        return self._answers(np.zeros(self.rows.labels.shape, dtype=np.int64))

    def _answers(self, y: np.ndarray) -> Answers:
        threshold = THRESHOLD if self.threshold is None else self.threshold
        outputs = {OUTPUT_NAMES[self.task]: self.rows.answers}
        return answers_of(self.task, outputs, y, self.classes, threshold=threshold, queries=self.rows.queries)

    @property
    def clusters(self) -> np.ndarray | None:
        """Which rows are drawn together ``[n]``, from 0 on without gaps."""
        own = self.rows.queries if self.rows.clusters is None else self.rows.clusters
        return None if own is None else np.asarray(np.unique(own, return_inverse=True)[1])


def over_all(samples: Sequence[Sample]) -> Sample | None:
    """The rows of several builds and arms as one sample, in their order; None if their answers do not mean the same."""
    first = samples[0]
    if any((one.classes, one.threshold) != (first.classes, first.threshold) for one in samples):
        return None
    shared = set.intersection(*(set(one.rows.columns) for one in samples))
    rows = [one.rows for one in samples]
    order = np.argsort(np.concatenate([one.number for one in rows]), kind="stable")

    def joined(values: Sequence[np.ndarray]) -> np.ndarray:
        return np.asarray(np.concatenate(values)[order])

    def joined_if_there(values: Sequence[np.ndarray | None]) -> np.ndarray | None:
        present = [one for one in values if one is not None]
        return joined(present) if len(present) == len(values) else None

    together = AnsweredRows(
        partition=joined([one.partition for one in rows]),
        build=joined([one.build for one in rows]),
        arm=joined([one.arm for one in rows]),
        mature=joined([one.mature for one in rows]),
        labels=joined([one.labels for one in rows]),
        answers=joined([one.answers for one in rows]),
        names=first.rows.names,
        label_names=first.rows.label_names,
        columns={name: joined([one.columns[name] for one in rows]) for name in first.rows.columns if name in shared},
        clusters=joined_if_there([one.clusters for one in rows]),
        queries=joined_if_there([one.queries for one in rows]),
        number=joined([one.number for one in rows]),
    )
    manifests = {id(one.manifest): one.manifest for one in samples}
    return replace(
        first,
        rows=together,
        build="",
        arm="",
        manifest=first.manifest if len(manifests) == 1 else None,
        probabilities=joined_if_there([one.probabilities for one in samples]),
    )
