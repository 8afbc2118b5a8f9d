"""Sessions among the rows that stand: rows by event time, each no more than a gap after the one before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fti_assets.features.windows.ordering.standing import Moments, Standing, Whole


def spans_of_starts(groups: Whole, events: Whole, enters: Whole, leaves: Whole, gap: int) -> tuple[Whole, Whole, Whole]:
    """From which moment until which a row is the first of its session: rows, and the moments.

    Args:
        groups: each row's group; rows are in the order of group and event time.
        events: its event time in microseconds.
        enters: the moment, of ``Standing``, from which on it stands; ``leaves`` likewise.
        gap: the longest time between two rows of a session.
    """
    standing = Standing(enters, leaves)
    if standing.first_in_first_out:  # the row before leaves before, so a row begins a session then at the latest
        begins = np.ones(len(events), bool)
        begins[1:] = (groups[1:] != groups[:-1]) | (events[1:] - events[:-1] > gap)
        before = np.concatenate([enters[:1], leaves[:-1]])
        rows, starts = np.arange(len(events)), np.where(begins, enters, np.maximum(enters, before))
        return rows, starts, leaves
    return _of_changes(events, enters, leaves, gap)


def _of_changes(events: Whole, enters: Whole, leaves: Whole, gap: int) -> tuple[Whole, Whole, Whole]:
    """The same where rows come late: what each entry and each leave makes of the row itself and of the next one."""
    real = np.nonzero(leaves > enters)[0]
    number = len(real)
    moments = np.concatenate([enters[real], leaves[real]])
    order = np.argsort(moments, kind="stable")
    entering = order < number
    rows = np.concatenate([real, real])[order]
    # One after another, though several may be of one moment: by the number of the change.
    turns = np.empty(2 * number, np.int64)
    turns[order] = np.arange(2 * number)
    enter_turns = np.full(len(events), 2 * number)
    leave_turns = enter_turns.copy()
    enter_turns[real], leave_turns[real] = turns[:number], turns[number:]
    standing = Standing(enter_turns, leave_turns)
    before = standing.at(np.arange(2 * number) - 1)
    place = standing.before(before, rows)
    previous = _nth(standing, before, place - 1)
    following = _nth(standing, before, place + ~entering)
    alone, joined = _begins(events, previous, rows, gap), _begins(events, rows, following, gap)
    across = _begins(events, previous, following, gap)
    follows = following >= 0
    # What holds from a change on, less what held before it: of the row, and of the next one beside its new neighbour.
    of_row = np.where(entering, 1, -1) * alone
    of_next = np.where(entering, 1, -1) * (joined.astype(np.int64) - across) * follows
    changed = np.concatenate([rows, following])
    steps = np.concatenate([of_row, of_next])
    turn = np.tile(np.arange(2 * number), 2)
    some = np.nonzero(steps)[0]
    some = some[np.lexsort((turn[some], changed[some]))]
    # A row's changes alternate: it begins a session, and does no more.
    sorted_moments = moments[order][turn[some]]
    return changed[some][::2], sorted_moments[::2], sorted_moments[1::2]


def _nth(standing: Standing, moments: Moments, places: Whole) -> Whole:
    """The row at each place, -1 where none stands there."""
    result = np.full(len(places), -1, np.int64)
    some = np.nonzero((places >= 0) & (places < moments.number))[0]
    result[some] = standing.nth(moments[some], places[some])
    return result


def _begins(events: Whole, previous: Whole, rows: Whole, gap: int) -> NDArray[np.bool_]:
    """Whether a row begins a session after a previous one; -1 is none."""
    return (previous < 0) | (events[rows] - events[previous] > gap)
