"""What moved an answer, as bars."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

RISE, FALL, TEXT = "#c0392b", "#2471a3", "#444444"
ROW, LEFT, WIDTH, MARGIN = 26, 300, 760, 60


def draw(
    file: Path, title: str, features: Mapping[str, Any], contributions: Mapping[str, float], *, most: int = 9
) -> None:
    """Write an SVG of the largest contributions, and of all others together.

    Args:
        file: where to.
        title: what stands above.
        features: the features' values by name.
        contributions: what each adds to the log-odds.
        most: how many have a bar of their own.
    """
    order = sorted(contributions, key=lambda name: -abs(contributions[name]))
    bars = [(f"{name} = {_value(features[name])}", contributions[name]) for name in order[:most]]
    bars.append((f"{len(order) - most} other features", sum(contributions[name] for name in order[most:])))
    scale = (WIDTH - LEFT - 2 * MARGIN) / (
        max(max(value, 0) for _, value in bars) - min(min(value, 0) for _, value in bars)
    )
    zero = LEFT + MARGIN - scale * min(min(value, 0) for _, value in bars)
    lines = [f'<text x="10" y="24" font-size="15" fill="{TEXT}">{escape(title)}</text>']
    for place, (name, value) in enumerate(bars):
        y = 44 + ROW * place
        x, end = min(zero, zero + scale * value), max(zero, zero + scale * value)
        anchor = f'x="{end + 6:.0f}"' if value >= 0 else f'x="{x - 6:.0f}" text-anchor="end"'
        lines += [
            f'<text x="{LEFT - 10}" y="{y + 14}" text-anchor="end" fill="{TEXT}">{escape(name)}</text>',
            f'<rect x="{x:.1f}" y="{y}" width="{end - x:.1f}" height="18" fill="{RISE if value >= 0 else FALL}"/>',
            f'<text {anchor} y="{y + 14}" fill="{TEXT}">{value:+.2f}</text>',
        ]
    height = 54 + ROW * len(bars)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">'
    paper = f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    file.write_text("\n".join([head, paper, *lines, "</svg>"]) + "\n")


def _value(value: Any) -> str:
    return (
        f"{value:,.4g}"
        if isinstance(value, float) and value < 10_000
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )
