"""Encoders of categories: one-hot, embedding codes, ordinal numbers and hashed codes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import Column, GraphInput
from fti_assets.core.types import EXACT, MISSING_INTEGER, ColumnType
from fti_assets.core.types.columns import whole_numbers
from fti_assets.errors import DeclarationError, ModelError, excerpt
from fti_assets.training.encoders.fitted import FittedSingle
from fti_assets.training.encoders.nodes import Nodes, category_keys, codes

Categories = tuple[str, ...] | tuple[int, ...]

_MOST_BUCKETS = 2**31 - 1


@checked_arguments()
@dataclass(frozen=True)
class OneHot:
    """One 0/1 column per category of a text, integer or boolean column; unknown and missing give all zeros.

    The columns are in the order of the categories' names (whole numbers ascending), so a retrained model keeps their order. Source:
    one-of-K coding, as scikit-learn's ``OneHotEncoder(handle_unknown="ignore")``.

    Args:
        max_categories: keep this many categories, the most frequent in train, ties by name; by default all.

    Raises:
        DeclarationError: ``max_categories`` is not a whole number above 0.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(OneHot(), np.array(["JFK", "EWR", "JFK", ""], dtype=object), "text").categories
    ('EWR', 'JFK')
    """

    max_categories: int | None = None

    def __post_init__(self) -> None:
        _check_max_categories(self.max_categories, "OneHot")


@checked_arguments()
@dataclass(frozen=True)
class Embedding:
    """An integer code for a text, integer or boolean column: 1..n by train frequency, then name; unknown and missing 0.

    The model's table needs ``n + 1`` rows: ``data.cardinalities[feature]``.
    Source: entity embeddings of categorical variables (Guo and Berkhahn, 2016).

    Args:
        max_categories: keep this many categories, the most frequent in train, ties by name; by default all.

    Raises:
        DeclarationError: ``max_categories`` is not a whole number above 0.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Embedding(), np.array(["UA", "AA", "UA", ""], dtype=object), "text").categories
    ('UA', 'AA')
    """

    max_categories: int | None = None

    def __post_init__(self) -> None:
        _check_max_categories(self.max_categories, "Embedding")


@checked_arguments()
@dataclass(frozen=True)
class Ordinal:
    """The index of a category of a text, integer or boolean column, from 0; unknown and missing values give -1.

    Source: scikit-learn's ``OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)``.

    Args:
        order: the categories, the lowest first, such as ``("small", "medium", "large")``. By default those of train in the order of
            their names, whole numbers ascending; give an order if it has a meaning.

    Raises:
        DeclarationError: the order has no category, one twice, empty text, or both text and numbers.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Ordinal(("small", "large")), np.array(["large"], dtype=object), "text").categories
    ('small', 'large')
    """

    order: Categories | None = None

    def __post_init__(self) -> None:
        if self.order is None:
            return
        object.__setattr__(self, "order", tuple(int(one) if isinstance(one, bool) else one for one in self.order))
        is_text = all(isinstance(one, str) and one for one in self.order)
        is_whole = all(isinstance(one, int) and abs(one) < 2**53 for one in self.order)
        if not self.order or len(set(self.order)) < len(self.order) or not (is_text or is_whole):
            raise DeclarationError(
                f"Ordinal({excerpt(self.order)}): give the categories, each once, as text that is not empty or as whole numbers below 2**53"
            )


@checked_arguments()
@dataclass(frozen=True)
class Hashing:
    """An integer code for a text, integer or boolean column of any number of categories: 1..buckets by hash; missing gives 0.

    Nothing is learned, so a category that is not in train has a code too, and two categories may share one. The model's table needs
    ``buckets + 1`` rows: ``data.cardinalities[feature]``. The hash is 32-bit MurmurHash3 with seed 0, over a text's UTF-8 bytes or
    a whole number's eight bytes, lowest first; the code is 1 plus its remainder by ``buckets``. onnxruntime computes it within the
    graph (``com.microsoft.MurmurHash3``), so training and serving run the same code. Source: feature hashing (Weinberger et al.,
    2009); the hash is that of scikit-learn's ``murmurhash3_32``.

    Args:
        buckets: how many codes there are besides 0.

    Raises:
        DeclarationError: ``buckets`` is not a whole number from 1 to 2**31 - 1.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Hashing(64), np.array(["UA"], dtype=object), "text")
    FittedHashing(buckets=64, kind='hashing', hash='murmur3-32 seed 0')
    """

    buckets: int

    def __post_init__(self) -> None:
        if (
            isinstance(self.buckets, bool)
            or not isinstance(self.buckets, int)
            or not 1 <= self.buckets <= _MOST_BUCKETS
        ):
            raise DeclarationError(f"Hashing({excerpt(self.buckets)}): give a whole number from 1 to 2**31 - 1")


@dataclass(frozen=True)
class FittedOneHot(FittedSingle):
    """The categories in the order of their columns."""

    categories: Categories
    kind: Literal["one_hot"] = "one_hot"

    def names(self, feature: str) -> list[str]:
        return [f"{feature}={category}" for category in self.categories]

    def nodes(self, nodes: Nodes, source: GraphInput) -> str:
        names: dict[str, Any] = {"cats_strings" if source.type == "string" else "cats_int64s": list(self.categories)}
        wide = nodes.add("OneHotEncoder", [source.name], domain="ai.onnx.ml", zeros=1, **names)
        # 0: as many rows as there are.
        return nodes.add("Reshape", [wide, nodes.constant([0, len(self.categories)], np.int64)])


@dataclass(frozen=True)
class FittedEmbedding(FittedSingle):
    """The categories in the order of their codes, the first is 1."""

    categories: Categories
    kind: Literal["embedding"] = "embedding"

    is_code: ClassVar[bool] = True

    def names(self, feature: str) -> list[str]:
        return []

    def nodes(self, nodes: Nodes, source: GraphInput) -> str:
        return codes(nodes, source, self.categories)

    @property
    def cardinality(self) -> int:
        return len(self.categories) + 1


@dataclass(frozen=True)
class FittedOrdinal(FittedSingle):
    """The categories in their order, the first is 0."""

    categories: Categories
    kind: Literal["ordinal"] = "ordinal"

    def names(self, feature: str) -> list[str]:
        return [feature]

    def nodes(self, nodes: Nodes, source: GraphInput) -> str:
        values = [-1.0, *map(float, range(len(self.categories)))]
        keys = category_keys(source, self.categories)
        return nodes.add(
            "LabelEncoder", [source.name], domain="ai.onnx.ml", default_float=-1.0, **keys, values_floats=values
        )


@dataclass(frozen=True)
class FittedHashing(FittedSingle):
    """How many codes there are; nothing was learned."""

    buckets: int
    kind: Literal["hashing"] = "hashing"
    hash: Literal["murmur3-32 seed 0"] = "murmur3-32 seed 0"

    is_code: ClassVar[bool] = True

    def names(self, feature: str) -> list[str]:
        return []

    def nodes(self, nodes: Nodes, source: GraphInput) -> str:
        nodes.domains["com.microsoft"] = 1
        hashed = nodes.add("MurmurHash3", [source.name], domain="com.microsoft", positive=1, seed=0)
        bucket = nodes.add("Mod", [nodes.cast(hashed, np.int64), nodes.constant(self.buckets, np.int64)])
        code = nodes.add("Add", [bucket, nodes.constant(1, np.int64)])
        # 0 for the text or number that stands for what is missing, 1 for any other.
        is_present = nodes.add(
            "LabelEncoder",
            [source.name],
            domain="ai.onnx.ml",
            default_int64=1,
            **category_keys(source, ()),
            values_int64s=[0],
        )
        return nodes.add("Mul", [code, is_present])

    @property
    def cardinality(self) -> int:
        return self.buckets + 1


def fit_one_hot(encoder: OneHot, values: np.ndarray, column_type: ColumnType) -> FittedOneHot:
    """The categories of train, the most frequent ones."""
    by_frequency = categories_of(values, column_type)[: encoder.max_categories]
    # Sorted by name: with the same categories the columns stand in the same order whatever their frequencies.
    return FittedOneHot(by_name(by_frequency))


def fit_embedding(encoder: Embedding, values: np.ndarray, column_type: ColumnType) -> FittedEmbedding:
    """The categories of train, the most frequent first."""
    return FittedEmbedding(categories_of(values, column_type)[: encoder.max_categories])


def fit_ordinal(encoder: Ordinal, values: np.ndarray, column_type: ColumnType) -> FittedOrdinal:
    """The categories as declared, or those of train by name."""
    return FittedOrdinal(by_name(categories_of(values, column_type)) if encoder.order is None else encoder.order)


def fit_hashing(encoder: Hashing, values: np.ndarray, column_type: ColumnType) -> FittedHashing:
    """The number of codes, as declared: nothing is learned."""
    return FittedHashing(encoder.buckets)


def categories_of(values: np.ndarray, column_type: ColumnType) -> Categories:
    """The categories of a canonical array ``[n]``, the most frequent first, ties by name."""
    if column_type == "text":
        counts = Counter(value for value in values.tolist() if value != "")
        return tuple(sorted(counts, key=lambda name: (-counts[name], name)))
    numbers, times = np.unique(whole_numbers(values), return_counts=True)
    order = np.lexsort((numbers, -times))
    return tuple(int(number) for number in numbers[order] if number != MISSING_INTEGER)


def by_name(categories: Categories) -> Categories:
    """Categories in the order of their names, whole numbers ascending."""
    return tuple(sorted(categories))  # type: ignore[arg-type, return-value]


def _check_max_categories(value: object, encoder: str) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise DeclarationError(
            f"{encoder}(max_categories={excerpt(value)}): give a whole number above 0, or None for all"
        )


def check_exact(column: Column, values: np.ndarray, original: int | None) -> None:
    """Check that float64 tells the categories of a feature apart; ``original`` is a stored one of 2**53 and more.

    Raises:
        ModelError: it does not.
    """
    if column.type != "integer" or not (beyond := np.abs(values) >= EXACT).any():
        return
    example = int(values[beyond][0]) if original is None else original
    raise ModelError(
        f"feature {column.name!r} has categories such as {example}: whole numbers of 2**53 and more cannot be told "
        "from their neighbours once they are numbers of a model. Store the column as text in a new version of its group, or, if it "
        "is a quantity, as a smaller number, such as the distance from the smallest"
    )
