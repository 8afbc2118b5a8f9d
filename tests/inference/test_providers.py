"""Which execution providers a predictor, a server and the command line run graphs on."""

import onnxruntime
import pytest

from fti_assets.cli import main
from fti_assets.errors import PredictionError
from fti_assets.inference.server import serving_app
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.stores.models.plain import publish_graph
from tests.inference.test_predictor import NOON, REQUEST, world
from tests.support.serving import sum_and_difference

__all__ = ["world"]

AZURE = ["AzureExecutionProvider", "CPUExecutionProvider"]
pytestmark = pytest.mark.skipif(AZURE[0] not in onnxruntime.get_available_providers(), reason="no second provider here")


@pytest.fixture
def sessions(monkeypatch) -> list[list[str]]:
    """The providers of each session that is made."""
    made: list[list[str]] = []
    new = onnxruntime.InferenceSession

    def noted(*arguments, **options):
        session = new(*arguments, **options)
        made.append(session.get_providers())
        return session

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    return made


def test_predictor_runs_on_the_providers_it_is_given(world, sessions):
    answer = world.load(providers="azure").predict(REQUEST, at=NOON)
    assert answer == world.load().predict(REQUEST, at=NOON)
    assert sessions == [AZURE, AZURE[1:]]


def test_followed_champion_runs_on_the_same_providers(world, sessions):
    predictor = world.load(providers=["azure"])
    world.promote(world.publish(2))
    assert predictor.follow().endswith("00000002")
    assert sessions == [AZURE, AZURE[1:], AZURE]  # the second one is the trial of the build that is published


def test_many_predictors_run_on_the_providers_of_the_environment(world, sessions, monkeypatch):
    monkeypatch.setenv("FTI_PROVIDERS", "azure")
    Predictor.load_many(["delay_net"], models=world.models.root, online=world.online.root)
    assert sessions == [AZURE]


def test_a_server_runs_every_graph_on_its_providers(world, sessions):
    publish_graph(world.models, "simple", sum_and_difference())
    app = serving_app(
        "delay_net", "simple", models=world.models.root, online=world.online.root, providers="azure"
    )  # fmt: skip
    app.repository.close()
    assert sessions == [AZURE[1:], AZURE, AZURE]  # the first one is the trial of the graph that is published


def test_predictor_refuses_a_provider_that_is_not_there(world):
    with pytest.raises(PredictionError, match="'tpu'.* has .*'cpu'"):
        world.load(providers="tpu")


def test_command_line_names_the_providers_there_are(world, capsys):
    arguments = ["--models", str(world.models.root), "--online", str(world.online.root), "--providers", "tpu"]
    assert main(["serve", "delay_net", *arguments]) == 1
    assert "names the execution provider 'tpu'" in capsys.readouterr().err
