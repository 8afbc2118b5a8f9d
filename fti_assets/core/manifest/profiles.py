"""Profiles: how the values of features and label were spread over a dataset's train rows, for what is compared with them later."""

from dataclasses import field

from fti_assets.core.records import record
from fti_assets.core.types import ColumnType

PROFILE = "profile.json"
"""The file of a build that holds the profile of its dataset."""

RULE = "quantiles-20-1"
"""How bins and categories are made, with a version of its own: at most 20 bins, and the 50 most frequent categories.

An edge is the value at rank ``ceil(i * n / 20)`` of the ``n`` sorted numbers, for ``i`` from 1 to 19, each finite value once. A bin holds
what is above the edge before it and at most its own; the first one and the last one are open. NaN counts as null, and so does empty text.
Categories that are as frequent as each other come by name.
"""
BINS = 20
CATEGORIES = 50


@record(frozen=True)
class ColumnProfile:
    """The values of a column.

    ``rows`` counts all, ``nulls`` those without a value. A number has ``edges`` and one count a bin, one more than edges; without any value
    it has neither. A vector has the edges and counts of its Euclidean norm, missing numbers being 0, and the ``dim`` of most rows. Text and
    booleans have the rows of each category, ``rest`` of all others, and how many of those there are. Counts of a
    dataset that keeps a sample of classes are of the rows before it, as far as the sample tells.
    """

    name: str
    type: ColumnType
    rows: float
    nulls: float
    edges: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()
    categories: dict[str, float] = field(default_factory=dict)
    rest: float = 0
    further_categories: int = 0
    dim: int | None = None


@record(frozen=True)
class Profile:
    """The features and the label of a dataset's train rows; ``rule`` says how bins and categories were made.

    ``answers`` is of a build's answers on its test rows, each called as prediction tables call it: the answer of several numbers is its
    most probable class, of quantiles and composites each number under ``<output>.<name>``. Datasets and builds of earlier releases
    have none. Of several labels ``label`` is the first, and ``labels`` has them all.
    """

    features: tuple[ColumnProfile, ...]
    label: ColumnProfile
    rule: str = RULE
    answers: tuple[ColumnProfile, ...] = ()
    labels: tuple[ColumnProfile, ...] = ()
