"""The rows of one split, as a model's function gets them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from fti_assets.errors import DataError, ModelError
from fti_assets.training.encoders.declarations import DENSE
from fti_assets.training.encoders.graph import EncoderModel
from fti_assets.training.trainer.parts.batches import ALONE, Share
from fti_assets.training.trainer.parts.block_encoder import BlockEncoder
from fti_assets.training.trainer.parts.feeds import ArrayFeed, Feed, SharedArrays, StreamFeed
from fti_assets.training.trainer.parts.rows import CopiedRows, Rows
from fti_assets.training.trainer.parts.stream import Source, Stream


class FrameMaker(Protocol):
    """What makes pandas frames of encoded rows."""

    encoder: EncoderModel

    @property
    def raw_encoder(self) -> EncoderModel:
        """The graph that gives the features as they are."""

    def raw(self, arrays: Mapping[str, np.ndarray]) -> Any:
        """A frame of what that gives."""

    def encoded(self, matrix: np.ndarray) -> Any:
        """A frame of ``X``."""


class Part:
    """The rows of one split. What is asked for is read and encoded then, and kept; ``stream`` keeps nothing.

    Attributes:
        y: ``[n]``: int64 for binary (0 or 1) and multiclass (positions in ``data.classes``), float32 for regression and ranking. Of several
            labels ``[n, k]``, a column for each of ``data.labels``.
        is_weighted: whether rows count more or less than 1, by the dataset's ``weight`` or ``sample`` or the model's ``weights``;
            batches are then ``(x, y, weight)``.
        undo: what a row counts by the dataset alone, its weight times what undoes its sample, float64 ``[n]``; None where all count alike.
        counts: what a row counts by the dataset's ``weight``, 1 on average, float64 ``[n]``; None without one.
        repeats: the same as it is stored, for what depends on how many rows there are.
        took_weight: whether somebody has asked for the weights.

    Args:
        stored: the raw rows.
        y: their labels.
        frames: what encodes them and makes frames of them.
        dense: gives what stands in ``dense`` in place of what the encoders give, ``[n]`` by column.
        tensor_y: the type of ``y`` as a tensor.
        weight: what each row counts, float32 ``[n]``; None for all alike.
        undo, counts, repeats: as above.
        seed: of the order of a stream that is asked for without one.
        queries: the number of each row's query, ascending; None without queries.
        in_queries: whether batches hold whole queries.
    """

    def __init__(
        self,
        stored: Rows,
        y: np.ndarray,
        frames: FrameMaker,
        dense: Callable[[], Mapping[int, np.ndarray]] = dict,
        *,
        tensor_y: str = "float32",
        weight: np.ndarray | None = None,
        undo: np.ndarray | None = None,
        counts: np.ndarray | None = None,
        repeats: np.ndarray | None = None,
        seed: int = 0,
        queries: np.ndarray | None = None,
        in_queries: bool = False,
    ) -> None:
        self.stored, self.y, self._frames, self._make_dense, self._tensor_y = stored, y, frames, dense, tensor_y
        self._weight, self.undo, self.took_weight, self._seed = weight, undo, False, seed
        self.counts, self.repeats = counts, repeats
        self._original: Part | None = None
        self._is_kept = False
        self._queries = None if queries is None else queries_of(queries, len(y))
        self._in_queries = in_queries

    def copy(self, *, keep: bool = False) -> Part:
        """The same rows for code that may write into its arrays: what it writes stays there. ``took_weight`` is told to the original.

        Args:
            keep: encode the rows once, for this copy and others, and keep them so.
        """
        other = copy.copy(self)
        for name in ("columns", "inputs", "_shared"):
            vars(other).pop(name, None)
        other._original, other._is_kept = self, keep
        other.stored, other.y, other._make_dense = CopiedRows(self.stored), self.y.copy(), lambda: self._dense
        other._weight, other.undo, other.counts, other.repeats, other._queries = (
            None if one is None else one.copy()
            for one in (self._weight, self.undo, self.counts, self.repeats, self._queries)
        )
        return other

    @property
    def is_weighted(self) -> bool:
        return self._weight is not None

    @property
    def weight(self) -> np.ndarray:
        """What each row counts when a model is trained, float32 ``[n]``, 1 on average: ``sample_weight`` of scikit-learn and of boosters.

        Rows count what the dataset's ``weight=`` says, in each part. In train, those of a class of which the dataset keeps a sample count
        in proportion to what they stand for, so a model's probabilities are of the world as it is; times the weight of their class,
        where the model has ``weights=``. All count 1 otherwise.
        """
        self.took_weight = True
        if self._original is not None:
            self._original.took_weight = True
        return np.ones(self.rows, dtype=np.float32) if self._weight is None else self._weight

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.y)

    @property
    def queries(self) -> np.ndarray | None:
        """As ``qid``; None where the dataset has no queries."""
        return self._queries

    @property
    def qid(self) -> np.ndarray:
        """The number of each row's query, int64 ``[n]`` from 0 on: the rows of a query stand together. It is ``qid`` of XGBoost.

        Raises:
            ModelError: the dataset has no queries.
        """
        if self._queries is None:
            raise ModelError(
                "the rows have no queries: say what names the list that a row is in, fti.training_dataset(query='session_id')"
            )
        return self._queries

    @property
    def groups(self) -> np.ndarray:
        """How many rows each query has, int64 ``[queries]``, in their order: ``group`` of LightGBM and XGBoost.

        Raises:
            ModelError: the dataset has no queries.
        """
        return np.bincount(self.qid)

    @cached_property
    def columns(self) -> Mapping[str, np.ndarray]:
        """The raw features, name to canonical array ``[n]``."""
        return dict(self.stored.columns)

    @cached_property
    def inputs(self) -> Mapping[str, np.ndarray]:
        """``dense`` float32 ``[n, dense_dim]`` and each Embedding feature int64 ``[n, 1]``, as numpy arrays."""
        original = self if self._original is None else self._original
        if "_shared" in vars(original) or (self._is_kept and original is not self):
            return original._shared.copies()
        if original is not self and "inputs" in vars(original):
            return {name: values.copy() for name, values in original.inputs.items()}
        return self._encoded()

    @cached_property
    def _shared(self) -> SharedArrays:
        """The encoded rows for copies of this part."""
        return SharedArrays(self.inputs if "inputs" in vars(self) else self._encoded())

    def _encoded(self) -> dict[str, np.ndarray]:
        encoder, end = self._encoder, 0
        arrays = encoder.empty(self.rows)
        with self.stored.open() as read:
            for at in range(len(self.stored.blocks)):
                end = encoder.fill(arrays, end, read(at))
        for column, values in self._dense.items():
            arrays[DENSE][:, column] = values
        return arrays

    @property
    def X(self) -> np.ndarray:
        """One matrix for scikit-learn and its like, as ``matrix`` makes it from ``inputs``."""
        return matrix(self.inputs)

    @property
    def frame(self) -> Any:
        """The features as they are, with their names, as a pandas frame for boosters, the same rows as ``y``.

        Numbers are float32, NaN where they are missing. Text, and whatever has categories, is a pandas categorical of the
        encoder's categories, NaN where it is missing or none of them. What has ``Standardize(dtype="float64")`` stays standardized.

        Raises:
            ModelError: a number is beyond float32.
            MissingExtraError: pandas is not installed.
        """
        return self._frames.raw(self._frames.raw_encoder.encode(self.columns))

    @property
    def encoded_frame(self) -> Any:
        """``X`` as a pandas frame, with a name for each column: ``encoded.temp``, ``encoded.origin=JFK``."""
        return self._frames.encoded(self.X)

    def stream(
        self,
        batch_size: int = 1024,
        *,
        seed: int | Literal["run"] | None = "run",
        shuffle_blocks: int = 16,
        share: Share = ALONE,
    ) -> Stream:
        """The rows as encoded batches ``(x, y)``, or ``(x, y, weight)``, of numpy arrays, read from disk as they come.

        It is for more rows than memory holds.

        Args:
            batch_size: rows a batch.
            seed: of the order, another one each epoch, by default the run's, ``data.seed``; None keeps the rows' own order.
            shuffle_blocks: how many blocks of 16,384 rows are read and shuffled together, and so in memory.
            share: which rows of each batch this process gets.

        Raises:
            ModelError: a number is not a whole one above 0, or the rows of queries are to stay together.
        """
        self._refuse_stream()
        return Stream(
            self._source,
            batch_size,
            seed=self._seed if seed == "run" else seed,
            shuffle_blocks=shuffle_blocks,
            share=share,
            frame=self._frames.raw,
            raw=lambda: Source(self.stored, BlockEncoder(self._frames.raw_encoder), self._labels, {}),
            tensor_y=self._tensor_y,
        )

    def feed(self, *, stream: bool) -> Feed:
        """What loaders of torch tensors are made of.

        Raises:
            ModelError: the rows of queries are to be streamed.
        """
        if stream:
            self._refuse_stream()
            return StreamFeed(self._source, self._tensor_y)
        return ArrayFeed(self.inputs, self._labels | {"y": self.y.astype(self._tensor_y, copy=False)})

    @property
    def _source(self) -> Source:
        return Source(self.stored, self._encoder, self._labels, self._dense)

    def _refuse_stream(self) -> None:
        if self._in_queries:
            raise ModelError(
                "a stream shuffles rows, and a ranking model learns from whole queries: train on data.train.X with data.train.groups, "
                "or on data.loaders(batch_size) without stream=True, whose batches are whole queries"
            )

    @property
    def _labels(self) -> dict[str, np.ndarray]:
        """What comes beside encoded rows, in the order of a batch."""
        if self._in_queries:
            return {"y": self.y, "qid": self.qid}
        return {"y": self.y, **({"weight": self.weight} if self.is_weighted else {})}

    @cached_property
    def _encoder(self) -> BlockEncoder:
        return BlockEncoder(self._frames.encoder)

    @cached_property
    def _dense(self) -> Mapping[int, np.ndarray]:
        return self._make_dense()


def queries_of(queries: np.ndarray, rows: int) -> np.ndarray:
    """The numbers of queries ``[n]``, ascending, as those from 0 on without a gap.

    >>> queries_of(np.array([2, 2, 5]), 3).tolist()
    [0, 0, 1]

    Raises:
        DataError: they descend, or there are not as many as rows.
    """
    if len(queries) != rows or (np.diff(queries) < 0).any():
        raise DataError(
            f"{rows} rows have {len(queries)} numbers of queries, which are to ascend with the rows: put the rows of a query together"
        )
    return np.cumsum(np.diff(queries, prepend=queries[:1]) > 0, dtype=np.int64)


def matrix(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Join encoded inputs to one float32 matrix: ``dense``, then each Embedding feature's code as a float.

    >>> matrix({"dense": np.array([[0.5]], np.float32), "carrier": np.array([[3]])}).tolist()
    [[0.5, 3.0]]
    """
    codes = [codes.astype(np.float32) for name, codes in inputs.items() if name != DENSE]
    return np.hstack([inputs[DENSE], *codes]) if codes else inputs[DENSE]
