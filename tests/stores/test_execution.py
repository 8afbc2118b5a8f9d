"""Where sessions are made, and what they run on. Every onnxruntime from PyPI has a second provider, Azure's, beside the CPU."""

import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from fti_assets.errors import DamagedError, PredictionError
from fti_assets.stores.models.graphs.execution import CPU, execution_providers, new_session
from fti_assets.stores.models.graphs.graph import Graph
from tests.support.serving import sum_and_difference

ROOT = Path(__file__).parents[2]
AZURE = ("AzureExecutionProvider", *CPU)
has_azure = pytest.mark.skipif(AZURE[0] not in onnxruntime.get_available_providers(), reason="no second provider here")


@pytest.mark.parametrize("names", [None, "", "cpu", "CPU", "CPUExecutionProvider", ["cpu"], (), " cpu , cpu"])
def test_the_cpu_runs_graphs_unless_another_is_named(names, monkeypatch):
    monkeypatch.delenv("FTI_PROVIDERS", raising=False)
    assert execution_providers(names) == CPU


@has_azure
@pytest.mark.parametrize("names", ["azure", "azure,cpu", "cpu, azure", ["AZUREexecutionprovider"]])
def test_the_cpu_is_the_last_of_providers(names):
    assert execution_providers(names) == AZURE


@has_azure
def test_the_environment_names_providers_of_who_names_none(monkeypatch):
    monkeypatch.setenv("FTI_PROVIDERS", "azure")
    assert execution_providers() == AZURE
    assert execution_providers("cpu") == CPU


@pytest.mark.parametrize("names", ["cuda", "cpu,cuda", ["CUDAExecutionProvider"], "tpu", [7]])
def test_unavailable_provider_is_refused_with_those_there_are(names):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers() and "uda" in str(names).lower():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(PredictionError, match=r"names the execution provider .* that is installed has .*'cpu'"):
        execution_providers(names)


def test_an_error_names_the_variable_that_is_wrong(monkeypatch):
    monkeypatch.setenv("FTI_PROVIDERS", "gpu")
    with pytest.raises(PredictionError, match="FTI_PROVIDERS='gpu'"):
        execution_providers()


@has_azure
def test_a_session_has_the_providers_that_are_named():
    assert new_session(sum_and_difference(), AZURE).get_providers() == list(AZURE)


def test_provider_that_does_not_start_is_an_error(monkeypatch):
    class Fallen:
        """What onnxruntime gives where CUDA is compiled in and its driver is missing: a session without it."""

        def __init__(self, *_: object, **__: object) -> None: ...

        def get_providers(self) -> list[str]:
            return list(CPU)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Fallen)
    for load in (Graph.plain, lambda graph, what, providers: new_session(graph, providers)):
        with pytest.raises(PredictionError, match="'cuda' does not start on this machine, .* can use 'cpu'"):
            load(sum_and_difference(), what="build v1/x", providers=("CUDAExecutionProvider", *CPU))


def test_a_graph_answers_alike_on_each_provider():
    feeds = {name: np.arange(16, dtype=np.int32).reshape(1, 16) for name in ("INPUT0", "INPUT1")}
    answers = [
        Graph.plain(sum_and_difference(), what="it", providers=execution_providers(name)).run_feeds(feeds)["OUTPUT0"]
        for name in (one.removesuffix("ExecutionProvider") for one in onnxruntime.get_available_providers())
    ]
    assert all(answer.tolist() == (2 * np.arange(16)).reshape(1, 16).tolist() for answer in answers)


def test_bytes_that_are_no_graph_stay_damaged_whatever_runs_them():
    with pytest.raises(DamagedError, match="cannot be loaded as an ONNX graph"):
        Graph.plain(b"none", what="build v1/x", providers=CPU)


def test_sessions_are_made_in_one_place():
    command = ["grep", "-rlE", "InferenceSession|SessionOptions", "--include=*.py", "fti_assets"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["fti_assets/stores/models/graphs/execution.py"]
