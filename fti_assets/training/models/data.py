"""Training data: what a model function gets, encoded by the very graph that will serve."""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fti_assets.core.manifest import CLASSIFIES, Column, Task, each_task
from fti_assets.errors import DataError, ModelError
from fti_assets.training.datasets.sampling.weights import BINARY, ClassWeights, row_weights
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.datasets.weight_column import about_one
from fti_assets.training.encoders.custom_checks import check_custom
from fti_assets.training.encoders.encoders import FittedEncoder
from fti_assets.training.encoders.graph import EncoderModel, build_encoder
from fti_assets.training.encoders.kinds.targets import FittedTarget, cross_fit
from fti_assets.training.models.parts.frames import Frames
from fti_assets.training.trainer.fits import losses
from fti_assets.training.trainer.fits.fit import check_settings, run_fit
from fti_assets.training.trainer.fits.progress import Progress
from fti_assets.training.trainer.fits.settings import Settings
from fti_assets.training.trainer.parts.batches import ALONE
from fti_assets.training.trainer.parts.labels import class_names, label_codes, target_of, train_target
from fti_assets.training.trainer.parts.part import Part, matrix
from fti_assets.training.trainer.parts.rows import Rows, RowsInMemory

__all__ = [
    "Part",
    "TrainingData",
    "class_names",
    "label_codes",
    "matrix",
    "refuse_one_class",
    "target_of",
    "train_target",
]


class TrainingData:
    """A dataset's three parts, encoded, with everything that training needs.

    Attributes:
        train, validation, test: the parts.
        task: ``binary``, ``multiclass``, ``multilabel``, ``regression``, ``multioutput`` (regression of several labels),
            ``quantile`` or ``ranking``.
        classes: the labels that multiclass codes stand for: the sorted texts of the train part's labels. For quantiles the levels
            as text, for several labels their names, else empty.
        labels: the names of several labels, in the order of the columns of ``y``; else empty.
        levels: those of the quantiles, ascending.
        encoder: the encoder graph.

    Args:
        features: the view's features in order.
        fitted: each feature's fitted encoder.
        columns: for each of ``train``, ``validation`` and ``test``, feature name to canonical array ``[n]``, or the rows on disk.
        labels: for each of them, the label's canonical array ``[n]``, or of several ``[n, k]``.
        task: what is learned.
        classes: the classes of a multiclass model, if they are not to be read from the train labels; for several labels their
            names.
        progress: receives the messages of training, and has its seed.
        undo: the weight of each train row, float64 ``[n]``, that undoes the dataset's sample of classes.
        weights: the weight of a row of each class.
        levels: those of the quantiles.
        counts: for each of the parts the stored weights of its rows, float64 ``[n]``, if the dataset has weights.
        queries: for each of the parts the number of each row's query ``[n]``, ascending, if the dataset has queries.
        what: the model, for errors.

    Raises:
        DataError: a label is missing, not finite, not 0 or 1 for binary, below 0 for ranking, or a class that train does not have; or
            columns and labels differ in length.

    >>> from fti_assets.training.encoders.kinds.scales import FittedStandardize
    >>> columns, labels = {"temp": np.array([20.0, np.nan])}, np.array([0.0, 1.0])
    >>> data = TrainingData([Column("temp", "number")], {"temp": FittedStandardize(10.0, 5.0)},
    ...     {part: columns for part in SPLITS}, {part: labels for part in SPLITS}, task="binary")
    >>> data.train.X.tolist(), data.train.y.tolist()
    ([[2.0], [0.0]], [0, 1])
    """

    def __init__(
        self,
        features: Sequence[Column],
        fitted: Mapping[str, FittedEncoder],
        columns: Mapping[str, Mapping[str, np.ndarray] | Rows],
        labels: Mapping[str, np.ndarray],
        *,
        task: Task,
        classes: Sequence[str] | None = None,
        progress: Progress | None = None,
        undo: np.ndarray | None = None,
        weights: ClassWeights | None = None,
        levels: Sequence[float] = (),
        counts: Mapping[str, np.ndarray | None] | None = None,
        queries: Mapping[str, np.ndarray | None] | None = None,
        what: str = "the model",
    ) -> None:
        self.task: Task = task
        self.progress = progress or Progress()
        self.encoder: EncoderModel = build_encoder(features, fitted)
        self.levels = tuple(levels)
        self.classes: tuple[str, ...] = tuple(map(str, self.levels))
        if task == "multiclass":
            self.classes = tuple(classes) if classes is not None else class_names(labels["train"])
        self.labels: tuple[str, ...] = tuple(classes or ()) if each_task(task) != task else ()
        self.classes = self.labels or self.classes
        stored = {name: _rows_of(columns[name], features, labels[name], what=f"the {name} part") for name in SPLITS}
        check_custom(features, fitted, stored["train"].columns)
        self.frames = Frames(features, self.encoder, stored["train"].columns)
        parts: dict[str, Part] = {}
        weight: np.ndarray | None = None
        for name in SPLITS:
            y = label_codes(labels[name], task, self.classes, what=f"the {name} part")
            tensor_y = "int64" if task == "multiclass" else "float32"
            repeats = None if counts is None else counts[name]
            own = None if repeats is None else about_one(repeats)
            dense = self._cross_fitted(stored[name], y, own) if name == "train" else dict
            if name == "train":
                undo = own if undo is None else undo if own is None else undo * own
                weight = row_weights(y, self.classes or BINARY, undo, weights, what=what)
            elif weight is not None:
                weight = np.ones(len(y), dtype=np.float32) if own is None else own.astype(np.float32)
            parts[name] = Part(
                stored[name],
                y,
                self.frames,
                dense,
                tensor_y=tensor_y,
                weight=weight,
                undo=undo if name == "train" else None,
                counts=own,
                repeats=repeats,
                seed=self.seed,
                queries=None if queries is None else queries[name],
                in_queries=task == "ranking",
            )
        self.train, self.validation, self.test = parts["train"], parts["validation"], parts["test"]

    def _cross_fitted(
        self, stored: Rows, y: np.ndarray, weight: np.ndarray | None
    ) -> Callable[[], Mapping[int, np.ndarray]]:
        """What train rows get in place of a target encoder's means, once it is asked for."""

        def fitted() -> Mapping[int, np.ndarray]:
            if not any(isinstance(one, FittedTarget) for one in self.encoder.encoders.values()):
                return {}
            target = target_of(y, self.task, len(self.classes))
            return cross_fit(self.encoder.dense_columns, self.encoder.encoders, stored.columns, target, weight)

        return fitted

    def copy(self, *, keep: bool = False) -> "TrainingData":
        """The same data with arrays of its own: what a model's function writes into them changes nothing that it is judged on.

        Args:
            keep: encode the rows once, for this copy and others, and keep them so.
        """
        other = copy.copy(self)
        for name in SPLITS:
            setattr(other, name, getattr(self, name).copy(keep=keep))
        return other

    @property
    def seed(self) -> int:
        """The seed of the run, 0 unless its tag ``fti/seed`` gives another; Python's, numpy's and torch's random numbers have it
        already.
        """
        return self.progress.seed

    @property
    def checkpoints(self) -> Path | None:
        """A folder for the checkpoints of your own training loop, with those that a killed run of the same training left.

        It is in the model store until the build is published. None if nothing is stored, or if another run is training the same
        now.
        """
        return self.progress.folder

    @property
    def dense_dim(self) -> int:
        """Columns of ``dense``."""
        return self.encoder.dense_dim

    @property
    def cardinalities(self) -> dict[str, int]:
        """Rows that each Embedding feature's table needs: its categories and one for unknown and missing."""
        return dict(self.encoder.cardinalities)

    def loaders(self, batch_size: int, seed: int | None = None, *, stream: bool = False) -> tuple[Any, Any]:
        """The train and validation parts as torch DataLoaders of batches ``(x, y)``; ``(x, y, weight)`` if ``data.train.is_weighted``.

        ``x`` is a dict of ``dense`` float32 ``[n, dense_dim]`` and each Embedding feature int64 ``[n, 1]``; ``y`` is
        ``[n]``, float32 for binary and regression, int64 for multiclass, and float32 ``[n, k]`` for several labels.
        Each epoch shuffles train again. For ranking a batch is
        ``(x, y, qid)``, with the number of each row's query, and holds whole queries.

        Args:
            batch_size: rows per batch; for ranking, as many queries as have that many rows on average.
            seed: of the order of the train rows; ``data.seed`` by default.
            stream: read the rows from disk as they are needed, like ``data.train.stream``, if they do not fit into memory.

        Raises:
            ModelError: the batch size is not a whole number above 0, or queries are to be streamed.
            MissingExtraError: torch is not installed.
        """

        train, validation = (part.feed(stream=stream) for part in (self.train, self.validation))
        own = self.seed if seed is None else seed
        return train.loader(batch_size, own, ALONE), validation.loader(batch_size, None, ALONE)

    def loss(self, output: Any, y: Any, weight: Any = None) -> Any:
        """The task's loss for a torch module: cross entropy of logits, the mean squared error of values, the pinball loss of
        quantiles; for several labels the mean of their losses.

        With the third element of a batch, the weights, which are 1 on average, it is the mean of ``weight * loss``. For ranking the
        third element is each row's query, and the loss is ListNet's: the cross entropy between the softmax of a query's labels and
        that of its scores, the mean over queries. Source: Cao et al., "Learning to Rank: From Pairwise Approach to Listwise
        Approach" (2007).

        Raises:
            ModelError: a ranking model's batch has no queries, or the output has another shape than the task asks for.
        """
        return losses.loss(self.task, output, y, weight, self.levels, classes=len(self.classes))

    def log(self, epoch: int, **metrics: Any) -> None:
        """Record an epoch of your own training loop in the run's log and in the build's learning curve.

        Args:
            epoch: its number, from 0 or 1 on.
            metrics: numbers by name, such as ``val_loss=0.31``.

        Raises:
            ModelError: the epoch is not a whole number, or a metric is not a number.
        """
        self.progress.log(epoch, metrics)

    def fit(
        self,
        module: Any,
        *,
        epochs: int = 5,
        batch_size: int = 1024,
        patience: int = 3,
        seed: int | None = None,
        log: Callable[[str], None] | None = None,
        report: Callable[[int, float], None] | None = None,
        stream: bool = False,
        accelerator: str = "auto",
        precision: str | int = "32-true",
        devices: int = 1,
        strategy: str = "auto",
        **trainer: Any,
    ) -> Any:
        """Train a LightningModule, or an ``nn.Module`` with Adam and the task's loss, and return it in eval mode.

        Training ends early after ``patience`` epochs without a lower ``val_loss``, if the module logs that, and the weights of the
        best epoch are put back. The module keeps the weights it was made with; torch is seeded before the model's function is
        called. In a run of the model a checkpoint is kept in the model store until the build is published: if the run is killed,
        the next one with the same code and rows continues after the last epoch.

        Args:
            module: its ``forward`` takes the dict that ``loaders`` give; logits or values by task.
            epochs: at most this many passes over the train part.
            batch_size: rows per step, of all processes together.
            patience: epochs.
            seed: of the shuffles and of the module's own randomness; ``data.seed`` by default.
            log: called with a line of text per epoch, instead of the run's log.
            report: called with each epoch and its ``val_loss``, if the module logs that: ``trial.report_loss`` of a tuned model.
            stream: read the rows from disk as they are needed, if they do not fit into memory.
            accelerator: as in Lightning: ``"auto"`` is a GPU if there is one, else the CPU.
            precision: as in Lightning, such as ``"bf16-mixed"``.
            devices: processes that train together, each on its share of every batch, on a device of its own or on the CPU.
            strategy: ``"ddp"``, or ``"ddp_find_unused_parameters_true"``, for several.
            trainer: further arguments of Lightning's ``Trainer``, such as ``gradient_clip_val`` and ``callbacks``.

        Raises:
            ModelError: the module is not a torch module, there are no train rows, a number is below 1, the loss is not a number,
                the trainer is impossible, or a process failed.
            MissingExtraError: torch or Lightning is not installed.
        """
        settings = Settings(
            task=self.task,
            levels=self.levels,
            classes=len(self.classes),
            epochs=epochs,
            batch_size=batch_size,
            patience=patience,
            seed=self.seed if seed is None else seed,
            accelerator=accelerator,
            precision=precision,
            devices=devices,
            strategy=strategy,
            options=trainer,
        )
        check_settings(settings)
        if self.task == "ranking" and devices > 1:
            raise ModelError(
                f"data.fit(devices={devices}) shares the rows of each batch among processes, and with them the rows of a query: train a "
                "ranking model with devices=1"
            )
        if not self.train.rows:
            raise ModelError("the train part has no rows: nothing can be fitted")
        train, validation = (part.feed(stream=stream) for part in (self.train, self.validation))
        return run_fit(module, train, validation, settings, self.progress, log, report)


def _rows_of(
    columns: Mapping[str, np.ndarray] | Rows, features: Sequence[Column], labels: np.ndarray, *, what: str
) -> Rows:
    if not isinstance(columns, Mapping):
        return columns
    raw = {feature.name: columns[feature.name] for feature in features if feature.name in columns}
    lengths = {len(values) for values in raw.values()}
    if lengths != {len(labels)}:
        raise DataError(f"{what} has {' and '.join(map(str, sorted(lengths)))} rows and {len(labels)} labels")
    return RowsInMemory(raw, len(labels))


def refuse_one_class(data: "TrainingData", *, what: str, label: str) -> None:
    """Raise a ModelError if a classifier has labels of one class alone to train on."""
    if data.task not in CLASSIFIES:
        return
    columns = dict(zip(data.labels, data.train.y.T, strict=True)) if data.labels else {label: data.train.y}
    for name, y in columns.items():
        _refuse_one_class_of(data, name, y, what=what)


def _refuse_one_class_of(data: "TrainingData", label: str, y: np.ndarray, *, what: str) -> None:
    present = np.unique(y)
    if len(present) != 1:
        return
    only = data.classes[int(present[0])] if data.task == "multiclass" else int(present[0])
    raise ModelError(
        f"{what} has only one class to train on: the label {label!r} is {only!r} in all {len(y)} train rows, and a "
        f"{data.task} model tells classes apart. Let the dataset reach further back (a later cutoff, a longer window=), or look at "
        f"what fills {label!r}"
    )
