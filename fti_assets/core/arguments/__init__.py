"""What public functions and classes are called with, and what is said of an argument that does not fit."""

from fti_assets.core.arguments.calls import (
    caller_frame,
    caller_names,
    checked_arguments,
    checked_function,
)

__all__ = [
    "caller_frame",
    "caller_names",
    "checked_arguments",
    "checked_function",
]
