"""The report as one HTML page: no script, nothing that is loaded, light or dark as the reader has it."""

from __future__ import annotations

from fti_assets.report.report import Report
from fti_assets.report.sections.causes import causes_part
from fti_assets.report.sections.comparisons import parity_part, rollout_part
from fti_assets.report.sections.elements import Html, problem, text
from fti_assets.report.sections.figures import drift_part, quality_part
from fti_assets.report.sections.groups import delays_part, freshness_part
from fti_assets.report.sections.models import models_part
from fti_assets.report.style import STYLE

LARGEST = 1_900_000
"""So many bytes a page has at most: of a system for which that is too little, fewer pictures and rows are shown."""

_MOST = (48, 24, 12, 6, 3, 1, 0)


def page_of(report: Report) -> str:
    """The page, with as many pictures of a monitor and builds of a model as there is room for."""
    pages = (_page(report, most) for most in _MOST)
    return next((page for page in pages if len(page.encode()) <= LARGEST), _page(report, 0))


def _page(report: Report, most: int) -> str:
    parts = [
        causes_part(report.causes, report.made_at),
        quality_part(report.monitors, most),
        drift_part(report.monitors, most),
        parity_part(report.parities, most),
        models_part(report.models, report.since, report.made_at, most),
        rollout_part(report.models, report.experiments),
        freshness_part(report.groups),
        delays_part(report.delays),
    ]
    lake = problem("The lake cannot be read:", report.problem) if report.problem else ""
    title = text(report.title, 120)
    body = (
        f"<header><h1>{title}</h1><p>{_about(report)}</p>{_tiles(report)}</header><main>{lake}{''.join(parts)}</main>"
    )
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'><meta name='color-scheme' content='light dark'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _about(report: Report) -> Html:
    since = "everything until then" if report.since is None else f"what is of {text(report.since)} or later"
    snapshot = "" if report.snapshot is None else f", at snapshot {report.snapshot} of the lake"
    return Html(f"As of {text(report.made_at)} UTC{snapshot}: {since}.")


def _tiles(report: Report) -> Html:
    """The few numbers that say where to look."""
    tiles: list[tuple[str, str, str, bool | None]] = []
    wrong = len(report.causes.causes)
    tiles.append(("causes", "open causes", f"{wrong:,}", not wrong if not report.causes.unseen or wrong else None))
    measured = [one for one in report.monitors if not one.problem]
    if measured:
        warnings = sum(one.warnings for one in measured)
        tiles.append(("drift", "figures beyond limits in the newest partitions", f"{warnings:,}", not warnings))
    days = [day for one in report.parities for day in one.days]
    if days:
        breaks = sum(day.breaks for day in days)
        tiles.append(
            (
                "parity",
                f"values differ online, {sum(day.compared for day in days):,} requests compared",
                f"{breaks:,}",
                not breaks,
            )
        )
    if report.models:
        champions = sum(one.aliases.champion is not None for one in report.models)
        tiles.append(
            (
                "models",
                "models with a champion",
                f"{champions} of {len(report.models)}",
                champions == len(report.models),
            )
        )
    groups = [one for one in report.groups if one.state != "unknown"]
    if groups:
        late = sum(one.state in ("stale", "empty") for one in groups)
        tiles.append(("freshness", f"stale of {len(groups)} groups", f"{late}", not late))
    items = "".join(
        f"<li><a href='#{name}'><b class='{_KINDS[good]}'>{text(number)}</b><span>{text(what)}</span></a></li>"
        for name, what, number, good in tiles
    )
    return Html(f"<nav aria-label='Summary'><ul class='tiles'>{items}</ul></nav>")


_KINDS = {True: "good", False: "bad", None: ""}
