"""What every endpoint of a server is: something that answers inference requests under a name, and what it refuses of one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from fti_assets.errors import RequestError, list_some, one_of
from fti_assets.inference.serving.answers.prediction import Prediction

PLATFORM = "onnxruntime_onnx"
GRAPH = ".graph"
"""What stands behind the name of a model whose graph is asked on its own."""


class TensorSpec(NamedTuple):
    """A tensor as the metadata describe it; -1 stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


class Stages(NamedTuple):
    """How long the parts of an answer took, in seconds: to look features up, and to run the graph."""

    lookup: float
    graph: float


class Answer(NamedTuple):
    """What one build of a model gave: every output in order, what to note beside them, how many rows, how long it took, and the
    predictions with the plain requests that they answer."""

    outputs: dict[str, np.ndarray]
    version: str
    parameters: dict[str, Any]
    rows: int
    stages: Stages
    predictions: Sequence[Prediction] = ()
    requests: Sequence[Mapping[str, Any]] = ()


class Endpoint(Protocol):
    """Something that answers inference requests under a name."""

    name: str

    @property
    def version(self) -> str:
        """The version, as the protocol has it."""

    @property
    def build(self) -> str:
        """The build that answers."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What a request brings."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What an answer has."""

    @property
    def latency_goal(self) -> float | None:
        """Within how many seconds a request is to be answered, if its model says so."""

    def infer(self, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any], *, most_rows: int) -> Answer:
        """Answer one request.

        Raises:
            RequestError: an input is missing, unknown, of another type or shape, or has too many rows.
            PredictionError: the request cannot be answered.
        """


def check_rows(rows: int, most: int) -> None:
    """Refuse more rows than a server takes of one request.

    Raises:
        TooManyRowsError: there are more.
    """
    if rows > most:
        raise TooManyRowsError(f"the request has {rows} rows: at most {most} are taken at once")


class TooManyRowsError(RequestError):
    """A request has more rows than a server takes at once."""


def check_names(name: str, names: Sequence[str], inputs: Mapping[str, np.ndarray]) -> None:
    if missing := [one for one in names if one not in inputs]:
        raise RequestError(
            f"model {name!r} needs the inputs {list_some(missing)}: the request brings {list_some(inputs)}"
        )
    if extras := [one for one in inputs if one not in names]:
        raise RequestError(f"model {name!r} has no input {one_of(extras[:5])}: its inputs are {list_some(names, 20)}")
