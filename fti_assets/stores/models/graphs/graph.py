"""A model's ONNX graph, ready to run: raw feature columns in, predictions out. Needs only numpy and onnxruntime."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import onnxruntime

from fti_assets.core.manifest import GraphInput
from fti_assets.core.types import INPUTS
from fti_assets.core.types.columns import whole_numbers
from fti_assets.core.types.vectors import matrix
from fti_assets.errors import DamagedError, DataError, PredictionError, one_of
from fti_assets.stores.models.graphs.bounds import UnboundedError
from fti_assets.stores.models.graphs.execution import CPU, new_session

T = TypeVar("T")

_MOST_KEPT = 2**24
"""Whatever is larger is a network, of which nothing is read off."""


class Tensor(NamedTuple):
    """An input or output as the graph itself declares it: onnxruntime's type, and a size or a name for each dimension."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


class Graph:
    """An ONNX graph and its session of one thread. Safe to run from many threads at once.

    >>> graph = Graph.from_bytes(path.read_bytes(), manifest.inputs, what="build v1/20130501T000000Z-1f9ac3d2")
    ... # doctest: +SKIP
    >>> graph.run({"temp": np.array([21.5]), "origin": np.array(["JFK"], dtype=object)})  # doctest: +SKIP
    {'probability': array([0.23], dtype=float32)}
    """

    def __init__(
        self,
        session: Any,
        inputs: tuple[GraphInput, ...],
        what: str,
        trial: Sequence[Any],
        source: bytes | None = None,
    ) -> None:
        self.inputs = inputs
        self.source = source
        """The serialized model, of a graph of features that is no larger than 16 MiB."""
        self.outputs: tuple[str, ...] = tuple(output.name for output in session.get_outputs())
        self.trial = dict(zip(self.outputs, trial, strict=bool(trial)))
        """The outputs for one row without values; none for a graph that is not made of features."""
        self.takes = _tensors(session.get_inputs())
        self.gives = _tensors(session.get_outputs())
        self._session = session
        self._run = session.run
        # Without the checks of names that Python's run makes for each call; the feeds are arranged here, so they fit.
        self._run_checked = session._sess.run
        self._names = list(self.outputs)
        self._what = what

    @classmethod
    def from_bytes(
        cls,
        onnx_bytes: bytes,
        inputs: tuple[GraphInput, ...],
        *,
        what: str,
        seconds: float = 60.0,
        providers: Sequence[str] = CPU,
    ) -> "Graph":
        """Build a session from a graph's bytes, check its inputs and run it once.

        Args:
            onnx_bytes: the serialized ONNX model; it may not refer to external data.
            inputs: the inputs as the manifest declares them.
            what: what the graph is, for errors.
            seconds: how long it may take to load, and to run once.
            providers: what it runs on, as ``execution_providers`` gives them.

        Raises:
            DamagedError: the bytes are no graph that runs, it may never end, its constants are elsewhere or not of the declared
                size, it does not load in time, or its inputs are not the declared ones.
            PredictionError: a provider cannot be used here.
        """
        session = _load(onnx_bytes, what, seconds, providers)
        _check_inputs(session, inputs, what)
        blank = {graph_input.name: _blank(graph_input) for graph_input in inputs}
        source = onnx_bytes if len(onnx_bytes) <= _MOST_KEPT else None
        return cls(session, inputs, what, _try(session, blank, what, seconds), source)

    @classmethod
    def plain(cls, onnx_bytes: bytes, *, what: str, seconds: float = 60.0, providers: Sequence[str] = CPU) -> "Graph":
        """A graph of any inputs, which is asked with ``run_feeds`` alone.

        Raises:
            DamagedError: as ``from_bytes``, but for the inputs.
            PredictionError: a provider cannot be used here.
        """
        return cls(_load(onnx_bytes, what, seconds, providers), (), what, ())

    @property
    def is_accelerated(self) -> bool:
        """Whether anything but the CPU runs it."""
        return tuple(self._session.get_providers()) != CPU

    def feeds(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrange ``n`` rows of canonical columns as the graph's inputs.

        Args:
            columns: feature name to canonical array ``[n]``; further columns are left alone.

        Returns:
            ``numbers`` float32 ``[n, k]``; ``double.<feature>`` float64, ``text.<feature>`` object and ``integer.<feature>``
            int64, ``[n, 1]`` each; times int64, ``time.<feature>`` ``[n, 1]`` and ``age.<feature>`` ``[n, 2]``;
            ``vector.<feature>`` float32 ``[n, dim]``.

        Raises:
            DataError: a feature is not among the columns, the columns differ in length, or a vector has another one than the graph's.
        """
        try:
            rows = len(columns[self.inputs[0].features[0]]) if self.inputs else 0
            results = {}
            for graph_input in self.inputs:
                if graph_input.type == "float32" and graph_input.dim is None:
                    results[graph_input.name] = _join(columns, graph_input.features, rows)
                    continue
                values = columns[graph_input.features[0]]
                if len(values) != rows:
                    raise ValueError
                if graph_input.dim is not None:
                    what = f"{self._what}: the vector {graph_input.features[0]!r}"
                    results[graph_input.name] = matrix(values, graph_input.dim, what=what)
                    continue
                if values.dtype.kind == "M":
                    results[graph_input.name] = _times(columns, graph_input.features, rows)
                    continue
                if graph_input.type == "int64":
                    values = whole_numbers(values)
                results[graph_input.name] = values.reshape(rows, 1)
        except KeyError as error:
            raise DataError(f"{self._what} needs the feature {error}; the columns are {one_of(columns)}") from error
        except ValueError as error:
            lengths = {name: len(columns[name]) for one in self.inputs for name in one.features}
            raise DataError(f"{self._what} needs columns of one length and one value a row, not {lengths}") from error
        return results

    def run(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predict ``n`` rows from their canonical columns.

        Raises:
            DataError: as ``feeds``.
        """
        return self.run_feeds(self.feeds(columns))

    def try_rows(self, columns: Mapping[str, np.ndarray], *, seconds: float = 60.0) -> dict[str, np.ndarray]:
        """``run`` for rows of which it is not known whether the graph ends on them.

        Raises:
            DataError: as ``feeds``.
            DamagedError: it does not run on them, or not in time.
        """
        return dict(zip(self.outputs, _try(self._session, self.feeds(columns), self._what, seconds), strict=True))

    def run_feeds(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predict from inputs that are arranged already, as ``feeds`` does."""
        return dict(zip(self.outputs, self._run(self._names, feeds), strict=True))

    def answer(self, feeds: Mapping[str, np.ndarray], output: str) -> np.ndarray:
        """One output for all inputs, arranged as ``feeds`` does; without what the session's own ``run`` looks at each time."""
        return self._run_checked([output], feeds, None)[0]  # type: ignore[no-any-return]


def _load(onnx_bytes: bytes, what: str, seconds: float, providers: Sequence[str]) -> Any:
    try:
        return _within(seconds, lambda: new_session(onnx_bytes, providers))
    except UnboundedError as error:
        raise DamagedError(f"{what} is a graph that is not run: {error}") from None
    except PredictionError:
        raise
    except Exception as error:  # onnxruntime's own exceptions share no base, and damage raises others too
        raise DamagedError(f"{what} cannot be loaded as an ONNX graph: {_first_line(error)}") from error


def _tensors(values: Sequence[Any]) -> tuple[Tensor, ...]:
    return tuple(Tensor(value.name, value.type, tuple(value.shape)) for value in values)


def _within(seconds: float, work: Callable[[], T]) -> T:
    """What ``work`` returns or raises, if it ends in time.

    A thread of its own does it, since nothing else stops onnxruntime while it loads a graph: a small one can name functions
    within functions that take hours to unfold. Such a thread goes on in vain until the process ends.

    Raises:
        TimeoutError: it did not end in time.
    """
    results: list[tuple[T | None, BaseException | None]] = []

    def run() -> None:
        try:
            results.append((work(), None))
        except BaseException as error:
            results.append((None, error))

    # A daemon: a graph that never ends would keep the process from ending.
    thread = threading.Thread(target=run, daemon=True, name="fti-graph")
    thread.start()
    thread.join(seconds)
    if not results:
        raise TimeoutError(f"it did not end within {seconds:g} s")
    [(result, error)] = results
    if error is not None:
        raise error
    return cast(T, result)


def _try(session: Any, feeds: Mapping[str, np.ndarray], what: str, seconds: float) -> list[Any]:
    options = onnxruntime.RunOptions()
    try:
        return cast(list[Any], _within(seconds, lambda: session.run(None, feeds, options)))
    except Exception as error:
        options.terminate = True  # a loop without an end stops at its next step
        raise DamagedError(f"{what} loads as an ONNX graph but does not run: {_first_line(error)}") from error


def _join(columns: Mapping[str, np.ndarray], features: tuple[str, ...], rows: int) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        if rows == 1:  # twice as fast as filling column by column
            return np.array([[columns[feature].item() for feature in features]], dtype=np.float32)
        matrix = np.empty((rows, len(features)), dtype=np.float32)
        for position, feature in enumerate(features):
            values = columns[feature]
            if len(values) != rows:
                raise ValueError
            matrix[:, position] = values
        return matrix


def _times(columns: Mapping[str, np.ndarray], features: tuple[str, ...], rows: int) -> np.ndarray:
    """Microseconds since 1970; NaT is the least int64, which is what stands for a missing whole number, too."""
    times = [columns[feature].astype("datetime64[us]").astype(np.int64) for feature in features]
    return np.stack(times, axis=1).reshape(rows, len(features))


def _check_inputs(session: Any, inputs: tuple[GraphInput, ...], what: str) -> None:
    results = {one.name: (one.type, one.shape[-1] if one.shape else None) for one in session.get_inputs()}
    expectation = {one.name: (INPUTS[one.type].tensor, one.width) for one in inputs}
    fit = results.keys() == expectation.keys() and all(
        results[name][0] == tensor and (not isinstance(results[name][1], int) or results[name][1] == width)
        for name, (tensor, width) in expectation.items()
    )
    if not fit:
        raise DamagedError(
            f"{what} has the inputs {_inputs_text(results)}, but its record declares {_inputs_text(expectation)}"
        )


def _inputs_text(inputs: Mapping[str, tuple[str, Any]]) -> str:
    return ", ".join(f"{name} {tensor} [n, {width}]" for name, (tensor, width) in inputs.items()) or "none"


def _blank(graph_input: GraphInput) -> np.ndarray:
    sides = INPUTS[graph_input.type]
    return np.full((1, graph_input.width), sides.blank, dtype=sides.array)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
