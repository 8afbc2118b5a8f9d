"""Where a forward asks for a value: a traced graph keeps the answer for the rows of the trace, whichever rows it is given later."""

import linecache
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.errors import ExportError
from fti_assets.training.models.cores.core import EncodedRows

_MOST_QUESTIONS = 16
_ASKS = ("__bool__", "__float__", "__int__", "__index__", "item", "tolist", "equal", "allclose", "is_nonzero")
_LIBRARIES = ("torch", "lightning", "pytorch_lightning")
_SHAPE_ALONE = ("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like")


@dataclass(frozen=True)
class _Question:
    """A line where a number or a truth value is made of a tensor that depends on the rows, and which it was."""

    code: CodeType
    line: int
    answer: Any


def refuse_branches(module: Any, sample: EncodedRows) -> None:
    """Refuse a torch module that gives another output if a value in its own code, such as that of an ``if``, is another.

    Each tensor that becomes a number of Python's is replaced by other numbers. What then changes nothing, such as a figure for a log, or
    raises, such as an assertion, may stay. So may a shape, which is no tensor, what depends on the weights alone, and what libraries ask.

    Args:
        module: the module, in evaluation mode.
        sample: encoded rows.

    Raises:
        ExportError: it names the line.
    """
    try:
        questions, before = _asked(module, sample)
        is_drawn = bool(questions) and not _is_same(before, _asked(module, sample)[1])
    except Exception:  # it ran unwatched: what it is made of cannot be watched
        return
    if is_drawn:  # it has no one output to compare with
        return
    for number, question in enumerate(questions[:_MOST_QUESTIONS]):
        if _matters(module, sample, number, question, before) and not _holds_for_each(module, sample, number, question):
            raise ExportError(_problem(module, question))


def _matters(module: Any, sample: EncodedRows, number: int, question: _Question, before: np.ndarray) -> bool:
    for answer in _other_answers(question.answer):
        try:
            after = _asked(module, sample, {number: answer})[1]
        except Exception:  # an assertion, or a number that never comes
            continue
        if not _is_same(before, after):
            return True
    return False


def _holds_for_each(module: Any, sample: EncodedRows, number: int, question: _Question) -> bool:
    """Whether single rows have another truth value there, and the same output with that of the trace: ``if mask.any()`` before what does
    nothing without a mask."""
    is_equal = False
    for at in range(len(next(iter(sample.values())))) if isinstance(question.answer, bool) else ():
        row = {name: values[at : at + 1] for name, values in sample.items()}
        try:
            own_questions, own = _asked(module, row)
            one = own_questions[number] if number < len(own_questions) else question
            if (one.code, one.line) != (question.code, question.line) or one.answer == question.answer:
                continue
            is_equal = _is_same(own, _asked(module, row, {number: question.answer})[1])
        except Exception:  # the graph would not run there either
            return False
        if not is_equal:
            return False
    return is_equal


def _asked(
    module: Any, sample: EncodedRows, instead: Mapping[int, Any] | None = None
) -> tuple[list[_Question], np.ndarray]:
    """What a module asks of the values of some rows, and its output; some questions get other answers instead."""
    torch = require("torch")
    asks = {getattr(torch.Tensor, name) for name in _ASKS} | {torch.equal, torch.allclose, torch.is_nonzero}
    questions: list[_Question] = []
    of_rows: dict[int, Any] = {}  # with the storages themselves, since one that is let go leaves its address to another

    def mark(value: Any) -> None:
        of_rows.update((one._cdata, one) for one in _storages(torch, value))

    class Watch(torch.overrides.TorchFunctionMode):  # type: ignore[misc,name-defined]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            name = getattr(func, "__name__", "")
            storages = _storages(torch, [args, kwargs or {}])
            if name in _SHAPE_ALONE or name.startswith("new_") or not any(one._cdata in of_rows for one in storages):
                return result
            mark([result, args[0]] if name == "__setitem__" else result)
            frame = sys._getframe(1)
            if func not in asks or not _is_own(frame, module):
                return result
            questions.append(_Question(frame.f_code, frame.f_lineno, result))
            return (instead or {}).get(len(questions) - 1, result)

    rows = {name: torch.from_numpy(values.copy()) for name, values in sample.items()}
    mark(rows)
    with torch.no_grad(), Watch():
        output = module(rows)
    return questions, np.asarray(output.float() if isinstance(output, torch.Tensor) else output)


def _storages(torch: Any, value: Any) -> Iterator[Any]:
    """Those of all tensors in a value; what shares one, such as a column of a table, has the same."""
    if isinstance(value, torch.Tensor):
        if value.layout is torch.strided:
            yield value.untyped_storage()
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _storages(torch, one)


def _is_own(frame: FrameType, module: Any) -> bool:
    """Whether code is of the user: not in an installed package, unless the module itself is of that."""
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if package in _LIBRARIES:
        return False
    paths = sysconfig.get_paths()
    installed = frame.f_code.co_filename.startswith(tuple(paths[name] for name in ("stdlib", "purelib", "platlib")))
    return not installed or package == type(module).__module__.partition(".")[0]


def _other_answers(answer: Any) -> tuple[Any, ...]:
    if isinstance(answer, bool):
        return (not answer,)
    if isinstance(answer, int):
        return (answer - 1, answer + 1, 0, 1000)
    if isinstance(answer, float):
        return (-1e6, 0.0, 1e6)
    if isinstance(answer, list) and answer:
        return tuple(list(ones) for ones in zip(*map(_other_answers, answer), strict=False))
    return ()


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True)


def _problem(module: Any, question: _Question) -> str:
    file, line = question.code.co_filename, question.line
    text = linecache.getline(file, line).strip()
    return (
        f"{type(module).__name__} asks for a value in {question.code.co_qualname}, {file}:{line}{text and f': {text}'}. The exported graph "
        f"would keep the answer that it got for its first rows, {question.answer!r:.40}, for every row. Choose for each row with "
        "torch.where(condition, one, other), and keep as a tensor what item() or float() makes a number"
    )
