"""The permutation importance of features as a small picture, as rows of the page of pictures, and as metadata."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from fti_assets.core.manifest import FeatureImportance, ImportanceRecord
from fti_assets.training.judging.pictures.build_pictures import SHOWN_IN_PLACE, drawing, image
from fti_assets.training.judging.pictures.curves import xml_text

IMPORTANCE = "importance"
"""What the picture is called."""

_BARS = 7
_NAME = 15
_MOST = 10


def importance_picture(record: ImportanceRecord) -> str:
    """A bar for each of the most important features, with a line from a standard deviation below to one above."""
    return next(
        svg
        for most in range(_BARS, 0, -1)
        if len(image(svg := _bars(record, most), IMPORTANCE)) < SHOWN_IN_PLACE or most == 1
    )


def importance_section(record: ImportanceRecord) -> str:
    """Every feature, and every group, as a row of a table in HTML."""
    longest = max((abs(one.mean) for one in (record.features | record.groups).values()), default=0.0) or 1.0
    tables = [_table("feature", record.features, longest)]
    tables += [_table("group", record.groups, longest)] if record.groups else []
    return (
        f"<h2>Permutation importance</h2><p>By how much {xml_text(record.metric)} gets worse with a feature shuffled, {record.repeats} "
        f"times each among {record.rows:,} rows, of which it is {record.score:.6g}; the mean and the standard deviation.</p>"
        + "".join(tables)
    )


def importance_metadata(record: ImportanceRecord | None) -> dict[str, float]:
    """The ten most important features, and all groups, each with its mean."""
    if record is None:
        return {}
    importances = dict(islice(record.features.items(), _MOST)) | record.groups
    return {f"{IMPORTANCE}/{name}": one.mean for name, one in importances.items()}


def _bars(record: ImportanceRecord, most: int) -> str:
    importances = dict(islice(record.features.items(), most))
    longest = max((abs(one.mean) + one.std for one in importances.values()), default=0.0) or 1.0
    ends = [
        (
            24 * row,
            [round(max(0.0, value) / longest * 100) for value in (one.mean, one.mean - one.std, one.mean + one.std)],
        )
        for row, one in enumerate(importances.values())
    ]
    bars = "".join(f"M140 {y}h{at}v16h-{at}z" for y, (at, _, _) in ends if at)
    spreads = "".join(f"M{140 + low} {y + 8}h{high - low}" for y, (_, low, high) in ends if high > low)
    names = "".join(
        f"<text y='{24 * row + 12}'>{xml_text(name, _NAME)} {one.mean:.2g}</text>"
        for row, (name, one) in enumerate(importances.items())
    )
    title = f"<text y='-24'>{xml_text(f'Importance: loss of {record.metric}', 38)}</text>"
    count = f"<text y='-9'>the first {len(importances)} of {len(record.features)} features</text>"
    paths = f"<path d='{bars}' fill='#43d'/><path d='{spreads}' stroke='#000'/>"
    return drawing(-6, -40, 256, 24 * len(importances) + 38, f"{paths}{names}{title}{count}")


def _table(what: str, of: Mapping[str, FeatureImportance], longest: float) -> str:
    rows = "".join(
        f"<tr><td>{xml_text(name)}<td class=n>{one.mean:.6g}<td class=n>{one.std:.3g}"
        f"<td><div class=bar style='width:{max(0.0, one.mean) / longest * 240:.0f}px'></div></tr>"
        for name, one in of.items()
    )
    return f"<table><tr><th>{what}<th class=n>mean<th class=n>deviation<th></tr>{rows}</table>"
