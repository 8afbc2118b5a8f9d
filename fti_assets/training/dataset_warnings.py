"""What a training dataset warns of, and batch predictions in part: data that is valid and of no use, or that knows too much."""

from collections.abc import Mapping, Sequence

from fti_assets.errors import listed
from fti_assets.rules import Rule, Verdict

JOINS = Rule("joins_find_rows", "Every join finds a row of its group", blocking=False)
VARYING = Rule("features_vary", "No feature is null in every row or has one value in all of them", blocking=False)
PRESENT = Rule("features_have_values", "No feature is null in every row", blocking=False)
APART = Rule("features_do_not_tell_label", "No feature equals the label or tells it without an error", blocking=False)
UNKNOWN = Rule("label_unknown_in_time", "No label was visible at its own prediction time", blocking=False)
PAST = Rule(
    "times_not_in_future", "No group has rows that are said to be true and available only after now", blocking=False
)
RULES = (JOINS, VARYING, APART, UNKNOWN, PAST)
OF_ANSWERS = (JOINS, PRESENT)


def judge_joins(found: Mapping[str, float], rows: int) -> Verdict:
    """Judge what share of the rows each join found something for."""
    lost = [group for group, share in found.items() if rows and not share]
    problem = (
        f"no row of {listed(lost)} was found for any of {rows} rows: compare the keys of both sides, and their times"
    )
    return Verdict(JOINS, len(lost), (), problem if lost else "")


def judge_values(null: Sequence[str], rows: int) -> Verdict:
    """Judge the features that are null in every row, where one value in all of them is no wonder."""
    return Verdict(PRESENT, len(null), (), f"of {rows} rows, {listed(null)} null in every row" if null else "")
