"""Training data: what a model function gets, encoded by the very graph that will serve."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fti_assets.core.manifest import Column, Task
from fti_assets.core.types import EXACT
from fti_assets.errors import DataError, ModelError, one_of
from fti_assets.training.datasets.split import SPLITS
from fti_assets.training.encoders import fitting
from fti_assets.training.encoders.encoders import DENSE, FittedEncoder
from fti_assets.training.encoders.graph import EncoderModel, build_encoder
from fti_assets.training.encoders.targets import cross_fit
from fti_assets.training.models.frames import Frames

_REMEDIES: Mapping[str, str] = {
    "binary": "Give 0 and 1, or booleans, in the group that the label comes from; task='multiclass' learns any labels",
    "regression": "Give finite numbers in the group that the label comes from; task='multiclass' learns any labels",
}


@dataclass(frozen=True)
class Part:
    """The rows of one split.

    Attributes:
        inputs: ``dense`` float32 ``[n, dense_dim]`` and each Embedding feature int64 ``[n, 1]``, as numpy arrays.
        y: ``[n]``: int64 for binary (0 or 1) and multiclass (positions in ``data.classes``), float32 for regression.
        columns: the raw features, name to canonical array ``[n]``.
    """

    inputs: Mapping[str, np.ndarray]
    y: np.ndarray
    columns: Mapping[str, np.ndarray]
    frames: Frames = field(repr=False, compare=False)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.y)

    @property
    def X(self) -> np.ndarray:
        """One matrix for scikit-learn and its like, as ``matrix`` makes it from ``inputs``."""
        return matrix(self.inputs)

    @property
    def frame(self) -> Any:
        """The features as they are, with their names, as a pandas frame for boosters, the same rows as ``y``.

        Numbers are float32, NaN where they are missing. Text, and whatever has a OneHot or an Embedding, is a pandas categorical of the
        encoder's categories, NaN where it is missing or none of them. What has ``Standardize(dtype="float64")`` stays standardized.

        Raises:
            ModelError: a number is beyond float32.
            MissingExtraError: pandas is not installed.
        """
        return self.frames.raw(self.frames.raw_encoder.encode(self.columns))

    @property
    def encoded_frame(self) -> Any:
        """``X`` as a pandas frame, with a name for each column: ``encoded.temp``, ``encoded.origin=JFK``."""
        return self.frames.encoded(self.X)


class TrainingData:
    """A dataset's three parts, encoded, and what is needed to train on them.

    Attributes:
        train, validation, test: the parts.
        task: ``binary``, ``multiclass`` or ``regression``.
        classes: the labels that multiclass codes stand for: the sorted texts of the train part's, else empty.
        encoder: the encoder graph.

    Args:
        features: the view's features in order.
        fitted: each feature's fitted encoder.
        columns: for each of ``train``, ``validation`` and ``test``, feature name to canonical array ``[n]``.
        labels: for each of them, the label's canonical array ``[n]``.
        task: what is learned.
        classes: the classes of a multiclass model, if they are not to be read from the train labels.

    Raises:
        DataError: a label is missing, not finite, not 0 or 1 for binary, or a class that train does not have; or
            columns and labels differ in length.

    >>> from fti_assets.training.encoders.scales import FittedStandardize
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
        columns: Mapping[str, Mapping[str, np.ndarray]],
        labels: Mapping[str, np.ndarray],
        *,
        task: Task,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.task: Task = task
        self.encoder: EncoderModel = build_encoder(features, fitted)
        self.classes: tuple[str, ...] = ()
        if task == "multiclass":
            self.classes = tuple(classes) if classes is not None else class_names(labels["train"])
        self.frames = Frames(features, self.encoder, columns["train"])
        parts = {}
        for name in SPLITS:
            inputs = self.encoder.encode(columns[name])
            if len(inputs[DENSE]) != len(labels[name]):
                raise DataError(f"the {name} part has {len(inputs[DENSE])} rows and {len(labels[name])} labels")
            y = label_codes(labels[name], task, self.classes, what=f"the {name} part")
            if name == "train":
                target = target_of(y, task, len(self.classes))
                cross_fit(inputs[DENSE], self.encoder.dense_columns, fitted, columns[name], target)
            raw = {one.name: columns[name][one.name] for one in features}
            parts[name] = Part(inputs, y, raw, self.frames)
        self.train, self.validation, self.test = parts["train"], parts["validation"], parts["test"]

    @property
    def dense_dim(self) -> int:
        """Columns of ``dense``."""
        return self.encoder.dense_dim

    @property
    def cardinalities(self) -> dict[str, int]:
        """Rows that each Embedding feature's table needs: its categories and one for unknown and missing."""
        return dict(self.encoder.cardinalities)

    def loaders(self, batch_size: int, seed: int = 0) -> tuple[Any, Any]:
        """The train and validation parts as torch DataLoaders of batches ``(x, y)``.

        ``x`` is a dict of ``dense`` float32 ``[n, dense_dim]`` and each Embedding feature int64 ``[n, 1]``; ``y`` is
        ``[n]``, float32 for binary and regression, int64 for multiclass. Each epoch shuffles train anew.

        Raises:
            ModelError: the batch size is not a whole number above 0.
            MissingExtraError: torch is not installed.
        """

        def loader(part: Part, shuffle_seed: int | None) -> Any:
            y = part.y if self.task == "multiclass" else part.y.astype(np.float32)
            return fitting.loader(part.inputs, y, batch_size, seed=shuffle_seed)

        return loader(self.train, seed), loader(self.validation, None)

    def loss(self, output: Any, y: Any) -> Any:
        """The task's loss for a torch module: cross entropy of logits, or the mean squared error of values."""
        return fitting.loss(self.task, output, y)

    def fit(
        self,
        module: Any,
        *,
        epochs: int = 5,
        batch_size: int = 1024,
        patience: int = 3,
        seed: int = 0,
        log: Callable[[str], None] | None = None,
    ) -> Any:
        """Train a LightningModule, or an ``nn.Module`` with Adam and the task's loss, and give it back in eval mode.

        Training ends early after ``patience`` epochs without a lower ``val_loss``, if the module logs that, and the
        weights of the best epoch are put back. One device: CUDA where there is one, else the CPU. The module comes with
        the weights it was made with, so seed torch before making it for the same model each time.

        Args:
            module: its ``forward`` takes the dict that ``loaders`` give; logits or values by task.
            epochs: at most this many passes over the train part.
            batch_size: rows a step.
            patience: epochs.
            seed: of the shuffles and of the module's own randomness.
            log: called with a line of text an epoch.

        Raises:
            ModelError: not a torch module, no train rows, or a number below 1.
            MissingExtraError: torch or Lightning is not installed.
        """
        for name, number in (("epochs", epochs), ("patience", patience)):
            if number < 1:
                raise ModelError(f"data.fit({name}={number!r}): give a whole number above 0")
        if not self.train.rows:
            raise ModelError("the train part has no rows: nothing can be fitted")
        train, validation = self.loaders(batch_size, seed)
        return fitting.fit(
            module,
            train,
            validation if self.validation.rows else None,
            task=self.task,
            epochs=epochs,
            patience=patience,
            seed=seed,
            log=log,
        )


def train_target(labels: np.ndarray, task: Task) -> np.ndarray:
    """Canonical train labels ``[n]`` as encoders learn from them: float64 ``[n, 1]``, or 0 and 1 of each class, ``[n, c]``.

    Raises:
        DataError: as ``label_codes``.
    """
    classes = class_names(labels) if task == "multiclass" else ()
    return target_of(label_codes(labels, task, classes, what="the train part"), task, len(classes))


def target_of(y: np.ndarray, task: Task, classes: int) -> np.ndarray:
    """The same of ``y``, as ``Part`` describes it."""
    if task == "multiclass":
        return np.asarray(y[:, None] == np.arange(classes), dtype=np.float64)
    return np.asarray(y[:, None], dtype=np.float64)


def matrix(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Join encoded inputs to one float32 matrix: ``dense``, then each Embedding feature's code as a float.

    >>> matrix({"dense": np.array([[0.5]], np.float32), "carrier": np.array([[3]])}).tolist()
    [[0.5, 3.0]]
    """
    codes = [codes.astype(np.float32) for name, codes in inputs.items() if name != DENSE]
    return np.hstack([inputs[DENSE], *codes]) if codes else inputs[DENSE]


def class_names(labels: np.ndarray) -> tuple[str, ...]:
    """The sorted distinct classes of labels ``[n]``, as text; whole numbers are written without a point, what is missing is none.

    >>> class_names(np.array([2.0, 1.0, np.nan])), class_names(np.array(["nan", "b", ""], dtype=object))
    (('1', '2'), ('b', 'nan'))

    Raises:
        DataError: a class is a number so large that its neighbours would be the same class.
    """
    _refuse_merged_classes(labels)
    return tuple(sorted({_class_name(label) for label in np.unique(labels[~_missing(labels)]).tolist()}))


def refuse_one_class(data: "TrainingData", *, what: str, label: str) -> None:
    """Raise a ModelError if a classifier has labels of one class alone to train on."""
    present = np.unique(data.train.y)
    if data.task == "regression" or len(present) != 1:
        return
    only = data.classes[int(present[0])] if data.task == "multiclass" else int(present[0])
    raise ModelError(
        f"{what} has only one class to train on: the label {label!r} is {only!r} in all {len(data.train.y)} train rows, and a "
        f"{data.task} model tells classes apart. Let the dataset reach further back (a later cutoff, a longer window=), or look at "
        f"what fills {label!r}"
    )


def label_codes(labels: np.ndarray, task: Task, classes: Sequence[str], *, what: str) -> np.ndarray:
    """Turn canonical labels ``[n]`` into ``y``, as ``Part`` describes it.

    Raises:
        DataError: a label is missing, not finite, not 0 or 1 for binary, or not among the classes.
    """
    missing = int(_missing(labels).sum())
    if missing and task == "multiclass":
        raise DataError(
            f"{what} has {missing} labels that are missing or empty text, which is not a class: leave those rows out, or give them a "
            "class with a name, such as 'none'"
        )
    if task == "multiclass":
        _refuse_merged_classes(labels)
        codes = {name: code for code, name in enumerate(classes)}
        distinct, positions = np.unique(labels, return_inverse=True)
        names = [_class_name(label) for label in distinct.tolist()]
        unknown = [name for name in names if name not in codes]
        if unknown:
            raise DataError(
                f"{what} has labels that the train part does not have: {one_of(unknown[:10])}; its classes are "
                f"{one_of(list(classes)[:20])}. Leave those rows out or let train reach further back"
            )
        return np.array([codes[name] for name in names], dtype=np.int64)[positions]
    kind = "0 or 1" if task == "binary" else "finite numbers"
    try:
        numbers = labels.astype(np.float64)
    except ValueError as error:
        raise DataError(
            f"{what} has labels that are not numbers, but a {task} model learns {kind}: {error}. {_REMEDIES[task]}"
        ) from error
    wrong = ~np.isin(numbers, (0.0, 1.0)) if task == "binary" else ~np.isfinite(numbers.astype(np.float32))
    if wrong.any():
        values = one_of(np.unique(numbers[wrong])[:10].tolist())
        raise DataError(
            f"{what} has {int(wrong.sum())} labels that are not {kind}, as {task} needs: {values}. {_REMEDIES[task]}"
        )
    return numbers.astype(np.int64 if task == "binary" else np.float32)


def _refuse_merged_classes(labels: np.ndarray) -> None:
    """Refuse classes that are whole numbers of which a float, in which a label comes, stands for several."""
    if labels.dtype.kind != "f" or not len(large := labels[np.abs(labels) >= EXACT]):
        return
    raise DataError(
        f"the label has the value {large[0]:.0f}, and from 2**53 on several whole numbers are one to a model: classes that large must be "
        "text; let the group that the label comes from store it as text"
    )


def _missing(labels: np.ndarray) -> np.ndarray:
    """Where canonical labels ``[n]`` are missing: NaN among numbers, the empty string among text."""
    return np.asarray(labels == "" if labels.dtype.kind in "OU" else np.isnan(labels))


def _class_name(label: Any) -> str:
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)
