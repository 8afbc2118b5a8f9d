"""The unit interval in segments, each of an arm: where shares change, and most keys stay where they are."""

from collections.abc import Mapping, Sequence

from fti_assets.core.records import record

_LEAST = 1e-12
"""Less than that is the rounding of floats: no key lies in it."""


@record(frozen=True)
class Segment:
    """The part of an arm between the end of the segment before and its own end, which belongs to the next one."""

    arm: str
    end: float


def side_by_side(shares: Mapping[str, float], *, rest: str) -> tuple[Segment, ...]:
    """Arms one after another in their order, and what is left for the rest.

    >>> side_by_side({"small": 0.25, "large": 0.5}, rest="champion")[-1]
    Segment(arm='champion', end=1.0)
    """
    segments, end = [], 0.0
    for arm, share in shares.items():
        end += share
        segments.append(Segment(arm, end))
    return _merge([*segments, Segment(rest, max(1.0, end))])


def shift_shares(segments: Sequence[Segment], shares: Mapping[str, float], *, rest: str) -> tuple[Segment, ...]:
    """The segments after shares have changed: arms that lose give up an end of theirs, and arms that gain take just that.

    So exactly the share that is lost changes its arm, the least that there can be, and a share that grows and shrinks again has
    the keys that it had.

    Args:
        segments: as they are, up to 1.
        shares: the share of each arm then, of all that have one; those of the rest follow.
        rest: the arm that has what no other has.

    >>> before = side_by_side({"small": 0.25, "large": 0.25}, rest="champion")
    >>> [(one.arm, one.end) for one in shift_shares(before, {"small": 0.5, "large": 0.25}, rest="champion")]
    [('small', 0.25), ('large', 0.5), ('small', 0.75), ('champion', 1.0)]
    """
    goals = {**shares, rest: max(0.0, 1.0 - sum(shares.values()))}
    results: list[tuple[float, float, str]] = []
    gaps: list[tuple[float, float]] = []
    pieces = _pieces(segments)
    for arm in dict.fromkeys(owner for *_, owner in pieces):
        own = [(start, end) for start, end, owner in pieces if owner == arm]
        loses = sum(end - start for start, end in own) - goals.get(arm, 0.0)
        # The rest gives up its beginning, others their end: what lies side by side stays so.
        for start, end in own if arm == rest else reversed(own):
            cut = min(max(loses, 0.0), end - start)
            loses -= cut
            middle = start + cut if arm == rest else end - cut
            cut_off, left = ((start, middle), (middle, end)) if arm == rest else ((middle, end), (start, middle))
            gaps.append(cut_off)
            results.append((*left, arm))
    gaps.sort()
    for arm, share in goals.items():
        gains = share - sum(end - start for start, end, owner in results if owner == arm)
        while gaps and (gains >= _LEAST or arm == rest):
            start, end = gaps.pop(0)
            middle = end if arm == rest else start + min(gains, end - start)
            results.append((start, middle, arm))
            if end - middle >= _LEAST:
                gaps.insert(0, (middle, end))
            gains -= middle - start
    return _merge([Segment(arm, end) for _, end, arm in sorted(results)])


def _pieces(segments: Sequence[Segment]) -> list[tuple[float, float, str]]:
    """Start, end and arm of each."""
    starts = [0.0, *(segment.end for segment in segments)]
    return [(start, segment.end, segment.arm) for segment, start in zip(segments, starts, strict=False)]


def _merge(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Without those of no width, neighbours of one arm as one, and without what sums of floats leave behind the 12th digit."""
    results: list[Segment] = []
    start = 0.0
    for segment in segments:
        if segment.end - start < _LEAST:
            continue
        if results and results[-1].arm == segment.arm:
            results.pop()
        start = round(segment.end, 12)
        results.append(Segment(segment.arm, start))
    return tuple(results)
