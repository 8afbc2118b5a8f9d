"""The least or greatest state in a window.

Where several rows may give the same, as for a minimum, a row that counts for a while counts as well for two shorter whiles
that overlap and cover it. So the rows are sorted into few lengths, and a window frame of DuckDB of fixed length answers for
each: the sparse table of Bender and Farach-Colton, "The LCA problem revisited" (2000).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fti_assets.features.windows.axis import AT, Windows
from fti_assets.features.windows.results import RowTerms


def spans_by_length(windows: Windows, window: int, spans: str) -> str:
    """The SQL of ``spans`` with the positions ``__fti_a <= p < __fti_b`` for which a row counts in a window."""
    # A row that counts from the first position, or to the last, counts on beyond it for its natural length: so lengths are few.
    natural, number, leaves = windows.natural(window), windows.axis.number, f"__fti_leaves_{window}"
    b = f"CASE WHEN {leaves} >= {number} THEN greatest({number}, __fti_enters + {natural}) ELSE {leaves} END"
    a = f"CASE WHEN __fti_enters <= 0 THEN least(0, __fti_b - {natural}) ELSE __fti_enters END"
    return f"SELECT *, {b} AS __fti_b, {a} AS __fti_a FROM {spans} WHERE __fti_enters < {leaves}"


def lengths_sql(windows: Windows, window: int, spans: str) -> str:
    """The SQL of the least and greatest length of each power of two."""
    return f"""
        SELECT min(__fti_b - __fti_a), max(__fti_b - __fti_a) FROM ({spans_by_length(windows, window, spans)})
        GROUP BY floor(log2(__fti_b - __fti_a))"""


def frame_lengths(bounds: Iterable[tuple[int, int]]) -> list[int]:
    """Lengths of which the greatest that is not above a row's length is at least half of it.

    >>> frame_lengths([(5, 7), (24, 24), (9, 15)])
    [5, 9, 24]
    >>> frame_lengths([(3, 9)])
    [3, 6]
    """
    lengths: list[int] = []
    for least, greatest in sorted(bounds):
        if not lengths or least > lengths[-1]:
            lengths.append(least)
        while greatest > 2 * lengths[-1]:
            lengths.append(2 * lengths[-1])
    return lengths


def extremes_sql(
    keys: str, terms: RowTerms, windows: Windows, lengths: Sequence[Sequence[int]], *, spans: str, targets: str
) -> str:
    """The SQL of ``targets``, of keys and positions, with ``__fti_extreme_<window>_<number>`` beside them; ``lengths`` are the
    frames of each window, from ``frame_lengths``."""
    places = range(len(terms.states))
    frames = [(window, length) for window, of_window in enumerate(lengths) for length in of_window]
    pieces, columns = [f"SELECT {keys}, __fti_enters AS {AT} FROM {spans} LIMIT 0"], []
    for window, length in frames:
        above = min((other for other in lengths[window] if other > length), default=None)
        fits = f"__fti_b - __fti_a >= {length}" + ("" if above is None else f" AND __fti_b - __fti_a < {above}")
        both = f"CASE WHEN __fti_b - __fti_a = {length} THEN [__fti_a] ELSE [__fti_a, __fti_b - {length}] END"
        states = ", ".join(f"__fti_state_{place} AS __fti_state_{window}_{length}_{place}" for place in places)
        pieces.append(
            f"SELECT {keys}, unnest({both}) AS {AT}, {states} FROM ({spans_by_length(windows, window, spans)}) WHERE {fits}"
        )
        columns += [(f"__fti_state_{window}_{length}_{place}", terms.states[place][1], length) for place in places]
    extremes = "".join(f", {of}({column}) AS {column}" for column, of, _ in columns)
    frame_columns = ", ".join(
        f"{of}({column}) OVER (PARTITION BY {keys} ORDER BY {AT} RANGE BETWEEN {length - 1} PRECEDING AND CURRENT ROW) "
        f"AS {column}"
        for column, of, length in columns
    )
    answers = ", ".join(
        f"{_best(spans, place, terms.states[place][1], [f'__fti_state_{window}_{length}_{place}' for length in of_window])} "
        f"AS __fti_extreme_{window}_{place}"
        for window, of_window in enumerate(lengths)
        for place in places
    )
    exclusions = "".join(f", {column}" for column, _, _ in columns)
    replacements = f" REPLACE ({frame_columns})" if frame_columns else ""
    return f"""
        SELECT * EXCLUDE (__fti_target{exclusions}), {answers}
        FROM (SELECT *{replacements}
              FROM (SELECT *, true AS __fti_target FROM {targets}
                    UNION ALL BY NAME SELECT {keys}, {AT}{extremes}
                    FROM ({" UNION ALL BY NAME ".join(f"({piece})" for piece in pieces)}) GROUP BY {keys}, {AT}))
        WHERE __fti_target"""


def _best(spans: str, place: int, of: str, columns: Sequence[str]) -> str:
    """The SQL of the least or greatest of columns that may be null; ``least`` and ``greatest`` take no structs."""
    if not columns:
        return f"(SELECT __fti_state_{place} FROM {spans} LIMIT 0)"  # a null of the state's type
    return columns[0] if len(columns) == 1 else f"list_{of}([{', '.join(columns)}])"
