"""The elements of the page: text, tables, cards and parts. Whatever comes from data is escaped here, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from fti_assets.report.charts.axes import printable, xml_text_of

_SHORT = 28


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object, most: int = 500) -> Html:
    """A value as text of the page: escaped, without secrets, cut to so many characters.

    >>> text("<b>"), text(0.123456), text(1234), text(None)
    ('&lt;b&gt;', '0.123', '1,234', '')
    """
    if isinstance(value, Html):
        return value
    if value is None:
        return Html("")
    if isinstance(value, bool):
        return Html("yes" if value else "no")
    if isinstance(value, float):
        return Html(f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}")
    if isinstance(value, int):
        return Html(f"{value:,}")
    if isinstance(value, datetime):
        return Html(f"{value:%Y-%m-%d}" if value.time() == datetime.min.time() else f"{value:%Y-%m-%d %H:%M}")
    return Html(escape(xml_text_of(str(value), most), quote=True))


def cleaned(value: str) -> Html:
    """Text that is without secrets already, escaped."""
    return Html(escape(printable(value), quote=True))


def _cell(value: object, kind: str) -> str:
    content = text(value)
    name = kind or ("s" if len(content) <= _SHORT else "")  # what is short stays in one line
    return f"<td class='{name}'>{content}</td>" if name else f"<td>{content}</td>"


def interval(low: float | None, high: float | None) -> str:
    """An interval, or nothing."""
    return "" if low is None or high is None else f"{low:.3g} to {high:.3g}"


def table(what: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """A table that scrolls by itself where it is too wide; numbers stand on the right.

    Args:
        what: its caption.
        columns: their names.
        rows: the cells, each a value or HTML.
    """
    lines = [tuple(row) for row in rows]
    if not lines:
        return Html("")
    is_number = [any(_is_number(row[at]) for row in lines) for at in range(len(columns))]
    kinds = ["n" if one else "" for one in is_number]
    body = [f"<tr>{''.join(map(_cell, row, kinds))}</tr>" for row in lines]
    head = "".join(
        f"<th scope='col' class='{kind}'>{text(name)}</th>" for kind, name in zip(kinds, columns, strict=True)
    )
    return Html(
        f"<div class='wide' role='region' tabindex='0' aria-label='{text(what)}'><table><caption>{text(what)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _is_number(cell: object) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def note(value: object) -> Html:
    """A sentence."""
    return Html(f"<p>{text(value, 2_000)}</p>")


def nothing(value: object) -> Html:
    """A sentence that says what is not there yet, and what to do."""
    return Html(f"<p class='nothing'>{text(value, 2_000)}</p>")


def problem(what: str, value: object) -> Html:
    """What could not be read, and why."""
    return Html(f"<p class='problem'><strong>{text(what)}</strong> {text(value, 2_000)}</p>")


def badge(value: str, kind: str) -> Html:
    """A word with a colour; the word says it all."""
    return Html(f"<span class='badge {kind}'>{text(value)}</span>")


def code(value: object) -> Html:
    """A name as code has it."""
    return Html(f"<code>{text(value)}</code>")


def card(title: object, picture: str, caption: object) -> Html:
    """A picture with its name and what it says in words."""
    return Html(
        f"<figure><figcaption><strong>{text(title, 80)}</strong><span>{text(caption)}</span></figcaption>{picture}</figure>"
    )


def broad(one: Html) -> Html:
    """A card that takes the whole width, and is moved sideways where there is little."""
    return Html(f"<div class='broad'>{one}</div>")


def grid(cards: Iterable[Html]) -> Html:
    """Cards side by side, as many as there is room for."""
    return Html(f"<div class='grid'>{''.join(cards)}</div>")


def details(what: str, content: str) -> Html:
    """What is folded away until somebody asks."""
    return Html(f"<details><summary>{text(what)}</summary>{content}</details>")


def part(name: str, title: str, *contents: str) -> Html:
    """A part of the page under a heading, which can be linked to."""
    return Html(
        f"<section id='{name}' aria-labelledby='{name}-title'><h2 id='{name}-title'>{text(title)}</h2>{''.join(contents)}</section>"
    )


def under(title: object, *contents: str) -> Html:
    """What belongs to one thing of a part."""
    return Html(f"<h3>{text(title, 120)}</h3>{''.join(contents)}")
