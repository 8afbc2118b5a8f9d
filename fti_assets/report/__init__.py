"""``fti report``: what a system's monitors, models and groups say, on one page."""

from fti_assets.report.page import page_of
from fti_assets.report.report import Report, report

__all__ = ["Report", "page_of", "report"]
