"""Pictures of a study: how its trials went, and which parameters mattered."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fti_assets.training.judging.pictures.curves import dots, line, places, xml_text
from fti_assets.training.tuning.study import Study, TrialRecord, parameters_text

_WIDTH, _HEIGHT = 200, 120
_MOST_DOTS, _MOST_STEPS = 16, 8
_MOST_BARS = 5
_MOST_ROWS = 500


def tuning_pictures(study: Study) -> dict[str, str]:
    """Small pictures by name, as SVG that Dagster shows in place.

    The history has a dot for a trial and a line for the best value so far; a trial far worse than most lies on the edge.
    """
    svgs = {"history": history(study)}
    if study.importance:
        svgs["importance"] = importance(study)
    return svgs


def history(study: Study, *, most: int = _MOST_DOTS, scale: int = 1) -> str:
    """The value of each complete trial by its number, and the best so far.

    Args:
        study: with a complete trial.
        most: so many trials have a dot, the best one among them.
        scale: how large, in widths of a small picture.
    """
    complete = _complete(study)
    values = np.array([one.value for one in complete], dtype=np.float64)
    numbers = np.array([one.number for one in complete], dtype=np.float64)
    signed = -values if study.higher_is_better else values
    best, middle = float(signed.min()), float(np.median(signed))
    # One trial that diverged would press all others into a line.
    edge = min(float(signed.max()), best + 3 * (middle - best)) if middle > best else float(signed.max())
    heights = np.minimum(signed, edge)
    low, high = sorted((-best, -edge) if study.higher_is_better else (best, edge))
    span = (high - low) or 1.0
    up = ((-heights if study.higher_is_better else heights) - low) / span
    across = (numbers - 1) / max(len(study.trials) - 1, 1)
    best_so_far = np.minimum.accumulate(heights)
    best_up = ((-best_so_far if study.higher_is_better else best_so_far) - low) / span
    points = _some(len(complete), int(signed.argmin()), most)
    steps = [0, *(np.flatnonzero(np.diff(best_so_far)) + 1).tolist()]
    steps = (
        steps
        if len(steps) <= max(most, _MOST_STEPS) or scale > 1
        else [*steps[: _MOST_STEPS // 2], *steps[-_MOST_STEPS // 2 :]]
    )
    corners_across, corners_up = [across[0]], [best_up[0]]
    for at in steps[1:]:
        corners_across += [across[at], across[at]]
        corners_up += [corners_up[-1], best_up[at]]
    corners_across.append(1.0)
    corners_up.append(corners_up[-1])
    picture = dots(_places(across[points], up[points], scale), 5, " stroke-opacity='.5'")
    picture += line(_places(np.array(corners_across), np.array(corners_up), scale))
    width, height = _WIDTH * scale, _HEIGHT * scale
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='-8 -22 {width + 20} {height + 42}' width='{width + 20}' "
        f"style='background:#fff;font:11px sans-serif'><path d='M0 0V{height}H{width}' fill='none' stroke='#aaa'/>{picture}"
        f"<text y='-8'>{xml_text(study.metric, 20)} {low:.4g} to {high:.4g}</text>"
        f"<text y='{height + 14}'>{len(study.trials):,} trials</text></svg>"
    )


def importance(study: Study) -> str:
    """How much of the metric's variance each parameter explains, the largest shares."""
    shares = _shares(study)[:_MOST_BARS]
    path = "".join(f"M100 {20 * row}h{max(round(share * 110), 1)}v12H100z" for row, (_, share) in enumerate(shares))
    names = "".join(
        f"<text y='{20 * row + 10}'>{xml_text(name, 10)} {share:.2f}</text>" for row, (name, share) in enumerate(shares)
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='-8 -22 220 {20 * len(shares) + 26}' width='220' "
        f"style='background:#fff;font:11px sans-serif'><path d='{path}' fill='#43d'/>{names}"
        f"<text y='-8'>share of the variance of {xml_text(study.metric, 14)}</text></svg>"
    )


def _shares(study: Study) -> list[tuple[str, float]]:
    return sorted(study.importance.items(), key=lambda one: -one[1])


def tuning_section(study: Study) -> str:
    """The study as a section of a build's page: the whole history, and every trial, the best first."""
    sign = -1 if study.higher_is_better else 1
    order = sorted(study.trials, key=lambda one: (one.state != "complete", sign * (one.value or 0.0), one.number))
    rows = "".join(
        f"<tr><td class=n>{one.number}<td>{one.state}<td class=n>{'' if one.value is None else f'{one.value:.6g}'}"
        f"<td class=n>{one.seconds:.3g}<td>{xml_text(parameters_text(one.parameters))}<td>{xml_text(_remark(one), 200)}</tr>"
        for one in order[:_MOST_ROWS]
    )
    large = "".join(f"<tr><td>{xml_text(name)}<td class=n>{share:.3f}</tr>" for name, share in _shares(study))
    shares = f"<table><tr><th>parameter<th class=n>share of the variance</tr>{large}</table>" if large else ""
    return (
        f"<h2>Tuning</h2><p>{len(study.trials):,} trials by {xml_text(study.metric)} on validation.</p>"
        f"{history(study, most=len(study.trials), scale=3)}{shares}"
        f"<table><tr><th class=n>trial<th>state<th class=n>{xml_text(study.metric)}<th class=n>seconds<th>parameters<th></tr>"
        f"{rows}</table>"
    )


def _complete(study: Study) -> list[TrialRecord]:
    return [
        one for one in study.trials if one.state == "complete" and one.value is not None and math.isfinite(one.value)
    ]


def _some(count: int, best: int, most: int) -> Sequence[int]:
    """At most so many of some trials, evenly taken, the best one among them."""
    if count <= most:
        return range(count)
    return sorted({best, *np.linspace(0, count - 1, most - 1).round().astype(int).tolist()})


def _places(across: np.ndarray, up: np.ndarray, scale: int) -> list[str]:
    # Squares of the longer side, pressed to the height: x and y share one rule of rounding.
    width, height = _WIDTH * scale, _HEIGHT * scale
    return places(across, up * height / width + 1 - height / width, 0.0, 1.0, side=width)


def _remark(trial: TrialRecord) -> str:
    if trial.same_as is not None:
        return f"as trial {trial.same_as}, not trained again"
    return trial.error or (f"after epoch {max(map(int, trial.reported))}" if trial.state == "pruned" else "")
