"""What a person sees of a system in three code locations: one graph, in a headless Chromium."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fti_assets.core import clock
from tests.integration.test_code_locations import NOW, train
from tests.support import chromium
from tests.support import visits as whole
from tests.support.instances import dagster_home

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.soak, pytest.mark.skipif(chromium.CHROMIUM is None, reason=chromium.ABSENT)]

LOCATIONS = {
    "features": "from tests.support import visits as whole\n"
    "defs = fti.build_definitions([whole.visits, whole.outcomes, whole.crowds, whole.shops], name='features')\n",
    "training": "from tests.integration.test_code_locations import train\n"
    "defs = fti.build_definitions([train(fti.Stores())], name='training')\n",
    "inference": "from tests.support.visits import DAYS\n"
    "scores = fti.batch_predictions(name='scores', model=fti.published_model('buyer'), partitions_def=DAYS)\n"
    "defs = fti.build_definitions([scores], name='inference')\n",
}
OWNED = {
    "features": {"visits_v1", "outcomes_v1", "crowds_v1", "shops_v1"},
    "training": {"buyer_dataset_v1", "buyer_v1"},
    "inference": {"scores_v1"},
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A web server over the three, of which the first two have made something."""
    folder = tmp_path_factory.mktemp("locations")
    home, stores = dagster_home(folder / "dagster"), whole.stores_in(folder / "fti")
    with clock.at(NOW), dg.DagsterInstance.from_config(str(home)) as instance:
        whole.run(whole.visits, whole.outcomes, whole.crowds, span=("01", "07"), stores=stores, instance=instance)
        whole.run(whole.shops, stores=stores, instance=instance)
        model = train(stores)
        whole.run(model.dataset, model, stores=stores, instance=instance, partition_key="2013-01-05")
    lines = ["load_from:"]
    for name, code in LOCATIONS.items():
        (folder / f"{name}_team.py").write_text(f"import fti_assets as fti\n{code}")
        lines.append(f"  - python_file: {{relative_path: {name}_team.py, location_name: {name}}}")
    (folder / "workspace.yaml").write_text("\n".join(lines))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"FTI_HOME": str(folder / "fti"), "DAGSTER_HOME": str(home), "PYTHONPATH": str(ROOT), "FTI_NOW": NOW}
    with open(folder / "webserver.log", "w") as log:
        server = subprocess.Popen(
            [Path(sys.executable).parent / "dagster-webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)],
            cwd=folder, env={**os.environ, **variables}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/server_info", folder / "webserver.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


def _wait_for(url: str, log: Path) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"the web server did not answer: {log.read_text()}")


def nodes(url: str) -> dict[str, Any]:
    query = "{ assetNodes { assetKey {path} isMaterializable repository{location{name}} dependencyKeys{path} } }"
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return {one["assetKey"]["path"][0]: one for one in json.load(answer)["data"]["assetNodes"]}


def test_each_asset_is_its_owners_and_depends_on_those_of_others(url: str) -> None:
    results = nodes(url)
    for location, names in OWNED.items():
        assert {name for name, one in results.items() if one["repository"]["location"]["name"] == location} == names
    assert all(one["isMaterializable"] for one in results.values())
    above = {name: {key["path"][0] for key in one["dependencyKeys"]} for name, one in results.items()}
    assert above["buyer_dataset_v1"] == OWNED["features"]
    assert above["scores_v1"] == {"buyer_v1", "crowds_v1", "shops_v1", "visits_v1"}


def test_the_graph_of_all_locations_is_one(url: str, tmp_path: Path) -> None:
    page = f"{url}/assets/scores_v1?view=lineage&lineageScope=upstream&lineageDepth=5"
    chromium.shown(
        page, tmp_path, "features", "training", "inference", *OWNED["features"], *OWNED["training"], "scores_v1"
    )
