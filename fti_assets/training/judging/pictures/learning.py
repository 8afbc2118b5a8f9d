"""The learning curve of a build: as a small picture, as a section of the page of pictures, and in words for the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fti_assets.core.manifest.learning import EpochRecord
from fti_assets.training.judging.pictures.build_pictures import SHOWN_IN_PLACE, drawing, image
from fti_assets.training.judging.pictures.curves import ends, line, places, xml_text

LEARNING = "learning_curve"
"""What the picture is called."""
LEARNING_FILE = "learning.json"
"""The file in a build that has every epoch."""

_COLOURS = ("#43d", "#d62")
_SIDE = 200
_POINTS = 16
_ROWS = 100


def learning_picture(epochs: Sequence[EpochRecord]) -> str | None:
    """The losses of the last fit by epoch, or its first metric; None if there are fewer than two epochs."""
    curves = _curves(epochs)
    if not curves:
        return None
    return next(
        svg
        for points in range(_POINTS, 2, -2)
        if len(image(svg := _drawn(curves, points), LEARNING)) < SHOWN_IN_PLACE or points == 4
    )


def learning_section(epochs: Sequence[EpochRecord]) -> str:
    """The curves with all epochs, and a table of the last of them, in HTML; nothing without epochs."""
    if not epochs:
        return ""
    curves = _curves(epochs)
    own = [one for one in epochs if one.fit == epochs[-1].fit]
    names = list(dict.fromkeys(name for one in own for name in one.metrics))
    head = "".join(f"<th class=n>{xml_text(name)}" for name in ("epoch", *names))
    rows = "".join(
        f"<tr><td class=n>{one.epoch}"
        + "".join("<td class=n>" + (f"{one.metrics[name]:.6g}" if name in one.metrics else "") for name in names)
        + "</tr>"
        for one in own[-_ROWS:]
    )
    picture = _drawn(curves, len(own)) if curves else ""
    return f"<h2>Learning curve</h2>{picture}<table><tr>{head}</tr>{rows}</table>"


def learning_in_words(epochs: Sequence[EpochRecord]) -> str:
    """How many epochs there were, and which had the lowest ``val_loss``; empty without epochs."""
    if not epochs:
        return ""
    own = [one for one in epochs if one.fit == epochs[-1].fit]
    message = f"{len(own)} epochs"
    scored = [(one.metrics["val_loss"], one.epoch) for one in own if "val_loss" in one.metrics]
    if scored:
        loss, epoch = min(scored)
        message += f"; the lowest val_loss, {loss:.6g}, was in epoch {epoch}"
    fits = len({one.fit for one in epochs})
    return message + (f"; {fits} fits in all" if fits > 1 else "")


def _curves(epochs: Sequence[EpochRecord]) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """The epochs and values of what is drawn, by name."""
    own = [one for one in epochs if one.fit == epochs[-1].fit]
    names = list(dict.fromkeys(name for one in own for name in one.metrics))
    losses = [name for name in names if "loss" in name][: len(_COLOURS)] or names[:1]
    curves = {}
    for name in losses:
        pairs = [(one.epoch, one.metrics[name]) for one in own if name in one.metrics]
        if len(pairs) > 1:
            across, up = np.array(pairs, dtype=np.float64).T
            curves[name] = (across, up)
    return curves


def _drawn(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], points: int) -> str:
    first, last = ends(*(across for across, _ in curves.values()))
    low, high = ends(*(up for _, up in curves.values()))
    body = f"<path d='M0 0V{_SIDE}H{_SIDE}' fill='none' stroke='#aaa'/>"
    for at, ((name, (across, up)), colour) in enumerate(zip(curves.items(), _COLOURS, strict=False)):
        points_at = np.unique(np.linspace(0, len(across) - 1, points).round().astype(np.int64))
        x, y = (across[points_at] - first) / (last - first), (up[points_at] - low) / (high - low)
        body += line(places(x, y, 0.0, 1.0, side=_SIDE)).replace(_COLOURS[0], colour)
        body += f"<text x='{100 * at}' y='-8' fill='{colour}'>{xml_text(name, 15)}</text>"
    body += (
        f"<text x='-4' y='9' text-anchor='end'>{high:.3g}</text><text x='-4' y='{_SIDE}' text-anchor='end'>{low:.3g}</text>"
        f"<text y='214'>{first:g}</text><text x='{_SIDE}' y='214' text-anchor='end'>epoch {last:g}</text>"
    )
    return drawing(-46, -22, 256, 242, body)
