"""What a training dataset, and partly batch predictions, warn of: data that is valid and of no use, or that knows too much."""

from fti_assets.core.rules import Rule

JOINS = Rule("joins_find_rows", "Every join finds a row of its group", blocking=False)
VARYING = Rule("features_vary", "No feature is null in every row or has one value in all of them", blocking=False)
APART = Rule("features_do_not_tell_label", "No feature equals the label or tells it without an error", blocking=False)
UNKNOWN = Rule("label_unknown_in_time", "No label was visible at its own prediction time", blocking=False)
PAST = Rule("times_not_in_future", "No group has rows that are said to be true and available after now", blocking=False)
RULES = (JOINS, VARYING, APART, UNKNOWN, PAST)

VALUED = Rule("features_have_values", "No feature is null in every row", blocking=False)
ANSWER_RULES = (JOINS, VALUED)
"""Rules of the rows that batch predictions answer: one day's rows may well have one value of a feature, or lie ahead."""
