"""The text of a function without what its decorators say in words alone."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, groupby


def without_words(source: str, words: Collection[str]) -> str:
    """The source of a function without those arguments of its decorators that only describe it.

    What is left is the text that would stand there had they never been written, so a description can come, change and go.

    Args:
        source: as ``inspect.getsource`` gives it; what cannot be parsed comes back as it is.
        words: the names of the arguments.

    >>> without_words('@group(ttl="1d", description="x")\\ndef rows(): ...', ["description"])
    '@group(ttl="1d")\\ndef rows(): ...'
    """
    lead = "if True:\n" if source[:1].isspace() else ""  # a function within another is indented
    try:
        module = ast.parse(lead + source)
    except (SyntaxError, ValueError):
        return source
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    function = next((node for node in ast.walk(module) if isinstance(node, kinds)), None)
    if function is None:
        return source
    text = (lead + source).encode()
    lines = [0, *accumulate(map(len, text.splitlines(keepends=True)))]
    calls = [one for one in function.decorator_list if isinstance(one, ast.Call)]
    for start, end in sorted((cut for call in calls for cut in _cuts(call, words, lines)), reverse=True):
        text = text[:start] + text[end:]
    return text.decode().removeprefix(lead)


def _cuts(call: ast.Call, words: Collection[str], lines: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where a call's arguments of these names stand in the bytes of the text, each with one comma."""

    def start(node: ast.expr | ast.keyword) -> int:
        return lines[node.lineno - 1] + node.col_offset

    def end(node: ast.expr | ast.keyword) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return lines[node.end_lineno - 1] + node.end_col_offset

    arguments: list[ast.expr | ast.keyword] = sorted([*call.args, *call.keywords], key=start)
    runs = [(of_words, [*run]) for of_words, run in groupby(arguments, lambda one: getattr(one, "arg", None) in words)]
    for place, (of_words, run) in enumerate(runs):
        if not of_words:
            continue
        if place + 1 < len(runs):
            yield start(run[0]), start(runs[place + 1][1][0])
        elif place:
            yield end(runs[place - 1][1][-1]), end(run[-1])
        else:
            yield start(run[0]), end(run[-1])
