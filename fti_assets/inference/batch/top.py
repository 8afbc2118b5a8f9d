"""The best items of each key, as a list with scores: what a page shows of many answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.sql import literal, quote
from fti_assets.errors import DeclarationError, excerpt, one_of

SCORE = "score"
"""The field of an item's answer in a list."""

_MOST = 10_000
_UNRANKED, _RANK, _ITEM = "__fti_unranked", "__fti_rank", "__fti_item"


@checked_arguments(itself=["k"])
@dataclass(frozen=True)
class TopK:
    """The best of many items for each key, as one list, such as the tracks that a listener may like most.

    The spine has a row for each candidate, keyed by both together; the predictions have a row for each ``by`` and prediction time,
    with a list of at most ``k`` items in the column ``top``: ``[{"track_id": 12, "score": 0.93}, ...]``, the highest answer first.
    Equal answers are in the order of the items' keys. An answer that is not a number comes after all others.

    For a ranking model, a list is one query, which ``by`` and the prediction time name. If the prediction time is not part of the
    query, all rows of the query need the same one. Otherwise a list would cover a single instant only, and a run fails.

    Args:
        k: how many items a list has at most, 1 to 10,000.
        by: whose list it is: some of the spine's keys. The other keys name the item.
        of: the answer to rank by, if there are several: a class of a multiclass model, whose probability is the score, or a name of
            a composite's answers. A run with a build that has no such answer fails.

    Raises:
        DeclarationError: ``k`` is out of range, or ``by`` or ``of`` names nothing.

    >>> TopK(10, by="listener_id", of="likes")
    TopK(k=10, by=('listener_id',), of='likes')
    """

    k: int
    by: str | Sequence[str]
    of: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or not 1 <= self.k <= _MOST:
            raise DeclarationError(f"TopK has k={excerpt(self.k)}: a list has 1 to {_MOST:,} items")
        by = (self.by,) if isinstance(self.by, str) else tuple(self.by)
        if not by:
            raise DeclarationError("TopK has by=[]: name the keys of the spine that a list belongs to")
        if self.of == "":
            raise DeclarationError("TopK has of='': name a class of the model")
        object.__setattr__(self, "by", by)

    def items(self, keys: Sequence[str], *, what: str) -> tuple[str, ...]:
        """The spine's keys that name an item.

        Raises:
            DeclarationError: ``by`` is not among the keys, or leaves none, or an item's key is called as its score.
        """
        if unknown := [name for name in self.by if name not in keys]:
            raise DeclarationError(f"{what}: top is by {one_of(unknown)}, but the keys of the spine are {one_of(keys)}")
        items = tuple(name for name in keys if name not in self.by)
        if not items:
            raise DeclarationError(
                f"{what}: top is by every key of the spine, {one_of(keys)}, which leaves no item: key the spine by the item too"
            )
        if SCORE in items:
            raise DeclarationError(
                f"{what}: an item of the lists would have two fields {SCORE!r}: rename that key of the spine"
            )
        return items

    def sql(self, answer: str, items: Sequence[str]) -> str:
        """The SQL of the list over the rows of a group, from the column of answers, a number each or a map with ``of`` in it.

        The least ``k`` of a struct are the best: whether it has no answer, the answer's negative, the item. So a group is held as ``k``
        items at a time, whatever its size.
        """
        score = quote(answer) if self.of is None else f"{quote(answer)}[{literal(self.of)}]"
        # 0 less the answer, not its negative: of that 0.0 and -0.0 would differ, and equal answers go by their items.
        fields = [f"{_UNRANKED} := isnan({score})", f"{_RANK} := 0.0::DOUBLE - {score}"]
        fields += [f"__fti_{place} := {quote(name)}" for place, name in enumerate(items)]
        items_sql = [f"{quote(name)} := {_ITEM}.__fti_{place}" for place, name in enumerate(items)]
        items_sql.append(f"{SCORE} := 0.0::DOUBLE - {_ITEM}.{_RANK}")
        best = f"min(struct_pack({', '.join(fields)}), {self.k})"
        return f"list_transform({best}, lambda {_ITEM}: struct_pack({', '.join(items_sql)}))"
