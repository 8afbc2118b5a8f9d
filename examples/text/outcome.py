"""What the models found in the test rows, beside the words of a text counted, and the picture of it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

WIDTH, HEIGHT, LEFT, TOP = 760, 400, 70, 40
COLOURS = {"words counted": "#7f8c8d", "frozen encoder": "#2471a3", "tuned encoder": "#c0392b"}


def counted_words(train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """The simplest baseline: which words a text has, by logistic regression; probabilities ``[n]`` of the test rows."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    counter = CountVectorizer(binary=True, min_df=2)
    model = LogisticRegression(C=0.1, max_iter=2_000).fit(counter.fit_transform(train["remarks"]), train["affected"])
    answers: np.ndarray = model.predict_proba(counter.transform(test["remarks"]))[:, 1]
    return answers


def figures(affected: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """How well answers tell which reports are of an affected flight."""
    from sklearn.metrics import log_loss, roc_auc_score

    found = found_by(affected, answers)
    return {
        "roc_auc": float(roc_auc_score(affected, answers)),
        "log_loss": float(log_loss(affected, answers)),
        "found_in_a_tenth": float(found[len(found) // 10]),
    }


def found_by(affected: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The share of affected flights among the first 0 to n reports, the highest answer first: float ``[n + 1]``."""
    order = np.argsort(-answers, kind="stable")
    return np.concatenate([[0.0], np.cumsum(affected[order]) / affected.sum()])


def draw(file: Path, curves: Mapping[str, np.ndarray]) -> None:
    """Write an SVG of how many of the affected flights are found by how many reports read.

    Args:
        file: where to.
        curves: of each model, as ``found_by`` gives them.
    """
    wide, high = WIDTH - LEFT - 180, HEIGHT - TOP - 60

    def at(read: float, found: float) -> str:
        return f"{LEFT + wide * read:.1f},{TOP + high * (1 - found):.1f}"

    lines = [
        '<text x="10" y="24" font-size="15">Affected flights that are found by reading so many reports first</text>'
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = LEFT + wide * share, TOP + high * (1 - share)
        lines += [
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + wide}" y2="{y:.1f}" stroke="#dddddd"/>',
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>',
            f'<text x="{x:.1f}" y="{TOP + high + 20}" text-anchor="middle">{share:.0%}</text>',
        ]
    lines.append(f'<text x="{LEFT + wide / 2:.0f}" y="{TOP + high + 42}" text-anchor="middle">reports read</text>')
    lines.append(f'<polyline points="{at(0, 0)} {at(1, 1)}" fill="none" stroke="#bbbbbb" stroke-dasharray="4"/>')
    for place, (name, found) in enumerate(curves.items()):
        points = " ".join(at(read / (len(found) - 1), share) for read, share in enumerate(found.tolist()))
        y = TOP + 20 + 24 * place
        lines += [
            f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>',
            f'<rect x="{LEFT + wide + 16}" y="{y - 10}" width="12" height="12" fill="{COLOURS[name]}"/>',
            f'<text x="{LEFT + wide + 34}" y="{y}">{name}</text>',
        ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13" fill="#444444">'
    paper = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    file.write_text("\n".join([head, paper, *lines, "</svg>"]) + "\n")
