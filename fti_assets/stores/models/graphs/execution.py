"""What runs a graph: onnxruntime's sessions, all made here, and the execution providers that they run on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import onnxruntime

from fti_assets.errors import PredictionError, excerpt, one_of
from fti_assets.stores.models.graphs.bounds import check_bounds

VARIABLE = "FTI_PROVIDERS"
"""The variable that names the execution providers of a process that is told none."""

CPU = ("CPUExecutionProvider",)

_SUFFIX = "ExecutionProvider"
_NOWHERE = f"{os.devnull}/nothing"


def execution_providers(names: str | Sequence[str] | None = None) -> tuple[str, ...]:
    """The execution providers that graphs are to run on, the preferred one first.

    Args:
        names: as onnxruntime names them or without their ending, in whatever case: ``"cuda"``, ``"cuda,cpu"`` or a list; by default
            what ``FTI_PROVIDERS`` says, and without it the CPU.

    Returns:
        onnxruntime's own names; the CPU, which runs what another cannot, is the last of them.

    Raises:
        PredictionError: a provider is none, or is not one of the onnxruntime that is installed.

    >>> execution_providers("cpu")
    ('CPUExecutionProvider',)
    """
    source = "providers="
    if names is None:
        names, source = os.environ.get(VARIABLE, ""), f"{VARIABLE}="
    words = names.split(",") if isinstance(names, str) else list(names)
    available = onnxruntime.get_available_providers()
    by_word = {one.lower(): one for one in available} | {one.removesuffix(_SUFFIX).lower(): one for one in available}
    providers: list[str] = []
    for word in words:
        if not isinstance(word, str) or (word.strip() and word.strip().lower() not in by_word):
            raise PredictionError(
                f"{source}{excerpt(names)} names the execution provider {excerpt(word)}: the onnxruntime "
                f"{onnxruntime.__version__} that is installed has {one_of(_short(one) for one in available)}. Name one of them, or "
                "install the onnxruntime that has it, such as onnxruntime-gpu for 'cuda'"
            )
        if word.strip():
            providers.append(by_word[word.strip().lower()])
    return tuple(dict.fromkeys([*(one for one in providers if one not in CPU), *CPU]))


def new_session(onnx_bytes: bytes, providers: Sequence[str] = CPU) -> Any:
    """A session of a graph, of one thread on the CPU; the graph may not refer to other files.

    Args:
        providers: as ``execution_providers`` gives them.

    Raises:
        UnboundedError: the graph may not end, or does not hold what it declares.
        PredictionError: a provider cannot be used here, as CUDA without its driver.
        Exception: onnxruntime's own, which share no base: the bytes are no graph.
    """
    check_bounds(onnx_bytes)
    options = onnxruntime.SessionOptions()
    # More threads only spin on one row, and batches are split by the caller.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # onnxruntime would print its own lines for a graph that is refused here with a sentence.
    options.log_severity_level = 4
    # Bytes in onnxruntime's own format would not be those that were checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Else external tensors are looked up in the working directory. Nothing can ever be in this folder.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
    session = onnxruntime.InferenceSession(onnx_bytes, options, providers=list(providers))
    usable = session.get_providers()
    # onnxruntime goes on without a provider that does not start, and the graph would be slow for a reason that nobody sees.
    if unusable := [one for one in providers if one not in usable]:
        raise PredictionError(
            f"the execution provider {_short(unusable[0])!r} does not start on this machine, where onnxruntime "
            f"{onnxruntime.__version__} can use {one_of(map(_short, usable))}: install what it needs, such as its driver, or name another"
        )
    return session


def _short(provider: str) -> str:
    return provider.removesuffix(_SUFFIX).lower()
