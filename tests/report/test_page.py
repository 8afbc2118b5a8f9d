"""The page of a report: what it says of figures, what it does with hostile text, and that it needs nothing from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

import fti_assets as fti
from examples.flight_delays.inference import delay_quality
from fti_assets.alerts.causes import Cause
from fti_assets.core.manifest import GateVerdict
from fti_assets.core.rollouts.rollout import Arm, Rollout
from fti_assets.monitors.quality.page import without_estimate
from fti_assets.report import Report, page_of
from fti_assets.report.charts.lines import Span, line_chart
from fti_assets.report.page import LARGEST
from fti_assets.report.reading.causes import OpenCauses
from fti_assets.report.reading.comparisons import Difference, ParityDay, ParityFigures
from fti_assets.report.reading.figures import Judged, MonitorFigures, Point, Series, _each_once
from fti_assets.report.reading.groups import Freshness
from fti_assets.report.reading.models import ModelHistory
from fti_assets.stores.models.aliases import AliasChange, Aliases, RolloutChange
from tests.support.chromium import ABSENT, CHROMIUM, opened
from tests.support.records import model_manifest

NOW = datetime(2025, 12, 31, 9)
DAYS = [datetime(2025, 1, 1) + timedelta(days=at) for at in range(360)]
HOSTILE = "</td></svg><script>alert(1)</script>' onload='x\" \x07 {t:%} https://ann:geheim@host/x"
EMPTY = Report(title="empty", made_at=NOW, since=None, causes=OpenCauses(()))
_VOID = {"meta", "br", "path", "circle", "rect"}


class Outline(HTMLParser):
    """The elements of a page: whether each is closed, what they load, and their text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def of(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def series(name: str, level: float = 0.1, days: int = 30) -> Series:
    points = tuple(Point(day, level + at / 1000, 800 + at, is_warning=at > 20) for at, day in enumerate(DAYS[:days]))
    return Series(name, "PSI", "against what the build learned from", points, limit=0.2, null_rate=0.0125)


def quality(name: str) -> Series:
    truth = tuple(Point(day, 0.75, 431, 0.7, 0.8) for day in DAYS[:20])
    estimates = tuple(Point(day, 0.74, 900) for day in DAYS[:25])
    return Series(name, "roc_auc", "all builds", truth, estimates, limit=0.69)


def whole(name: str) -> Report:
    """A report in which every name and text is the given one."""
    judged = Judged(DAYS[29], name, "psi", "training", name, name, name, 0.31, None, None, 0.2, 829, True, "warning")
    monitor = MonitorFigures(
        name, name, DAYS[29], (Point(DAYS[0], 3.0, 3),), (series(name),), 1, (judged,), (quality(name),), (judged,), 1
    )
    gate = GateVerdict(name, False, name)
    builds = (
        model_manifest(b"", created_at="2025-03-01T00:00:00", metrics={"roc_auc": 0.7}, trained_because=name),
        model_manifest(
            b"",
            build="20250601T000000Z-00000002",
            status="rejected",
            created_at="2025-06-01T00:00:00",
            metrics={"roc_auc": 0.6},
            gates=(gate,),
        ),
    )
    champion = AliasChange("2025-03-01T00:00:00", builds[0].reference, None, name, by=name)
    rollout = Rollout("canary", (Arm("challenger", builds[0].reference, 0.1),), (name,), "s", "2025-07-01", name)
    change = RolloutChange("2025-07-01T00:00:00", "started", {"challenger": name}, {"challenger": 0.1}, name)
    aliases = Aliases("delay_net", builds[0].reference, (champion,), rollout=rollout, rollouts=(change,))
    difference = Difference("break", "logged", name, name, name, name, DAYS[0], None, DAYS[1], name)
    return Report(
        title=name,
        made_at=NOW,
        since=None,
        causes=OpenCauses((Cause(name, name, name),), (name.partition(" https")[0],), name),
        models=(ModelHistory(name, builds, aliases, problems=(name,)),),
        monitors=(monitor, MonitorFigures(name, name, problem=name)),
        parities=(ParityFigures(name, name, (ParityDay(DAYS[0], 90, 10, 1, 2, 3),), (difference,), ((name, 10),)),),
        groups=(Freshness(name, "stale", name, 24, DAYS[0], name),),
        problem=name,
    )


def test_whatever_comes_from_data_stays_text() -> None:
    page = page_of(whole(HOSTILE))
    outline = Outline(page)
    assert "script" not in outline.names
    assert not [name for _, name, _ in outline.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in outline.text
    assert "geheim" not in page
    assert "\x07" not in page


def test_a_page_loads_nothing() -> None:
    outline = Outline(page_of(whole("x")))
    assert outline.names.isdisjoint({"script", "link", "img", "iframe", "object", "use", "image", "base", "form"})
    assert not outline.of("src")
    assert all(target.startswith("#") and target[1:] in outline.of("id") for target in outline.of("href"))
    page = page_of(whole("x"))
    assert not re.search(r"url\(|@import|https?:", page)
    assert "default-src 'none'" in page
    assert "prefers-color-scheme:dark" in page


def test_every_picture_says_in_words_what_it_shows() -> None:
    page = page_of(whole("temp"))
    assert page.count("<svg") == page.count("<svg role='img' aria-label='") == 6
    label = "temp, PSI, against what the build learned from; 30 partitions from 2025-01-01 to 2025-01-30, lowest 0.1, highest 0.129, "
    assert f"{label}newest 0.129 of 829 rows; limit 0.2, 9 warnings" in page
    assert "estimated in 25 partitions, the newest 2025-01-25 0.74 of 900 rows" in page


def test_figures_stand_with_rows_limit_and_reference() -> None:
    text = Outline(page_of(whole("temp"))).text
    assert "PSI 0.129, limit 0.2; 829 rows of 2025-01-30, against what the build learned from; 1.25% null" in text
    assert "roc_auc 0.75 (0.7 to 0.8), limit 0.69; 431 rows of 2025-01-20, all builds" in text
    assert "champion 0.7" in text
    assert "failed temp: temp" in text
    assert "2 values differ" in text


def test_estimates_have_another_line_than_labels() -> None:
    page = page_of(whole("temp"))
    assert page.count("class='line estimate'") == 1
    assert page.count("class='band'") == 1
    only_estimates = replace(quality("auc"), points=())
    monitor = MonitorFigures("m", "p", DAYS[0], quality=(only_estimates,))
    text = Outline(page_of(replace(EMPTY, monitors=(monitor,)))).text
    assert "roc_auc estimated 0.74, limit 0.69; 900 rows of 2025-01-25" in text


def test_metrics_without_an_estimate_are_named() -> None:
    monitor = MonitorFigures("m", "p", DAYS[0], quality=(quality("rmse"),), without_estimate=("rmse", "mae"))
    text = Outline(page_of(replace(EMPTY, monitors=(monitor,)))).text
    assert "Of rmse and mae there is no estimate before labels come" in text
    assert without_estimate(delay_quality) == ()
    assert without_estimate(replace(delay_quality, quality=(fti.Quality("ece"), fti.Quality("brier")))) == ("ece",)


def test_a_partition_without_a_figure_is_a_gap() -> None:
    points = tuple(replace(one, value=None) if at == 3 else one for at, one in enumerate(series("temp").points))
    monitor = MonitorFigures("m", "p", DAYS[0], drift=(replace(series("temp"), points=points),), columns=1)
    [line] = re.findall(r"class='line' d='([^']*)'", page_of(replace(EMPTY, monitors=(monitor,))))
    assert line.count("M") == 2
    assert line.count("L") == 27


def test_a_monitor_of_one_partition_has_its_pictures() -> None:
    monitor = MonitorFigures("m", "p", DAYS[0], (Point(DAYS[0], 3.0, 3),), (series("temp", days=1),), 1)
    page = page_of(replace(EMPTY, monitors=(monitor,)))
    assert "nan" not in page.lower()
    assert page.count("<figure>") == 2
    assert "1 partitions" not in page


def test_builds_of_one_instant_lie_side_by_side() -> None:
    points = (Point(DAYS[0], 0.7, 5, 0.6, 0.8), Point(DAYS[0], 0.7, 5, 0.6, 0.8), Point(DAYS[0], 0.8, 5, 0.7, 0.9))
    picture = line_chart(Series("m", "m", "of", points), Span(DAYS[0], DAYS[0]), from_zero=False, in_order=True)
    (dots,) = re.findall(r"class='dot' d='([^']*)'", picture)
    assert re.findall(r"M([\d.]+) ", dots) == ["46.0", "198.0", "350.0"]


def test_the_interval_of_one_figure_is_drawn() -> None:
    one = Series("m", "m", "of", (Point(DAYS[0], 0.7, 5, 0.6, 0.8),))
    picture = line_chart(one, Span(DAYS[0], DAYS[0]), from_zero=False)
    (path,) = re.findall(r"class='band' d='([^']*)'", picture)
    left, top, width, bottom = map(float, re.findall(r"^M([\d.]+) ([\d.]+)h([\d.]+)V([\d.]+)", path)[0])
    assert left < 198 < left + width
    assert top < bottom


def test_a_system_without_anything_is_told_what_to_declare() -> None:
    text = Outline(page_of(EMPTY)).text
    for what in ("fti.monitor(", "quality=", "fti.parity(", "fti rollout start", "fti.Alerts(", "fti.model("):
        assert what in text, what


@pytest.mark.soak
def test_a_large_system_has_a_page_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    points = tuple(Point(day, 0.7, 5, 0.6, 0.8, True) for day in DAYS)
    metrics = tuple(replace(quality(f"m{at}"), points=points) for at in range(12))
    columns = tuple(series(f"column_{at}", days=360) for at in range(12))
    monitors = tuple(
        MonitorFigures(f"monitoring.m{at}_v1", "p_v1", DAYS[-1], (), columns, 12, quality=metrics) for at in range(3)
    )
    large = replace(EMPTY, monitors=monitors)
    whole_page = page_of(large)
    assert 600_000 < len(whole_page.encode()) <= LARGEST < 2_000_000
    monkeypatch.setattr("fti_assets.report.page.LARGEST", 400_000)
    page = page_of(large)
    assert 100_000 < len(page.encode()) <= 400_000
    assert all(one.table in page for one in monitors)


@pytest.mark.soak
@pytest.mark.skipif(CHROMIUM is None, reason=ABSENT)
def test_a_browser_shows_it_light_and_dark_on_any_width(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page_of(whole("a_long_name_" * 8)))
    with opened(f"file://{file}", tmp_path) as page:
        page.wait_for("Builds and champions")
        for width in (320, 1200):
            for scheme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 22, 29)")):
                page.shown_to(width, scheme)
                assert page.value("getComputedStyle(document.body).backgroundColor") == paper
                assert page.value("document.documentElement.scrollWidth") == width
        assert page.value("performance.getEntriesByType('resource').length") == 0


def test_a_build_that_answered_alone_has_one_figure() -> None:
    start, rest = datetime(2013, 12, 1), (0.7, 0.8, None, 40, False, "")
    of_all = Judged(start, "", "roc_auc", "", "", "", "", 0.75, *rest)
    alone, other = replace(of_all, build="v1/a"), replace(of_all, build="v1/b", rows=3)
    assert _each_once([of_all, alone]) == (alone,)
    assert _each_once([of_all, other, replace(other, build="v1/c")]) == (of_all, other, replace(other, build="v1/c"))
