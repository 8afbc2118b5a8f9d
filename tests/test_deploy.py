"""What deploys the flagship, checked without containers: names that exist, commands that parse, images' steps that run."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from resources import resources_for
from tests.support.team_lakes import HOST, database

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
HELM = yaml.safe_load((ROOT / "deploy/helm-values.yaml").read_text())
PAGE = (ROOT / "docs/deploy.md").read_text()
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))
STORES = {"FLIGHTS_LAKE", "FLIGHTS_MODELS", "FLIGHTS_ONLINE", "FLIGHTS_LANDING"}
OF_OTHER_IMAGES = {"postgres", "redis", "bucket", "make-bucket"}
SERVICE = {
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "volumes",
    "ports",
    "depends_on",
    "healthcheck",
    "restart",
}
"""The keys of a service that are used here, all of which the compose specification has."""
CHART = {
    "global": {"postgresqlSecretName"},
    "generatePostgresqlPasswordSecret": None,
    "postgresql": {
        "enabled",
        "postgresqlHost",
        "postgresqlScheme",
        "postgresqlUsername",
        "postgresqlDatabase",
        "service",
    },
    "dagster-user-deployments": {"enabled", "deployments"},
    "runLauncher": {"type", "config"},
    "dagsterDaemon": {"runCoordinator", "runRetries"},
    "dagsterWebserver": {"replicaCount"},
    "telemetry": {"enabled"},
}
"""The keys of the chart's values that are used here."""
DEPLOYMENT = {
    "name", "image", "dagsterApiGrpcArgs", "port", "env", "envSecrets", "volumes", "volumeMounts", "resources",
    "includeConfigInLaunchedRuns",
}  # fmt: skip


def names_read() -> set[str]:
    """The environment variables that code and configuration here read."""
    texts = [
        (ROOT / name).read_text()
        for name in ("deploy/dagster.yaml", "deploy/server.Dockerfile", "examples/flight_delays/definitions.py")
    ]
    texts += [path.read_text() for path in [*(ROOT / "fti_assets").rglob("*.py"), *(ROOT / "resources").glob("*.py")]]
    return {name for text in texts for name in re.findall(r"\b(?:FTI|FLIGHTS|AWS|DAGSTER)_[A-Z0-9_]+\b", text)}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What compose gives the code location, with values for what .env sets."""
    values = {
        name: re.sub(r"\$\{(\w+)[^}]*\}", r"secret_of_\1", value)
        for name, value in COMPOSE["services"]["flights"]["environment"].items()
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def test_production_reads_its_stores_from_the_environment(environment: dict[str, str]) -> None:
    resources = resources_for("production")
    stores = resources["fti"].process_config_and_initialize()
    lake = stores.offline_store()
    assert str(lake.root) == "postgresql://postgres:***@postgres:5432/lake?data=s3://flights/lake"
    assert str(lake.data) == "s3://flights/lake/data"
    assert str(stores.model_store().root) == "s3://flights/models"
    assert stores.online_store().location == "redis://redis:6379/0?prefix=flights"
    assert resources["landing"].process_config_and_initialize().folder == "/landing"
    declared = {one.env_var_name for one in vars(resources["fti"]).values() if isinstance(one, dg.EnvVar)}
    assert declared | {"FLIGHTS_LANDING"} == STORES
    assert set(resources_for("local")) == set(resources)


def test_flagship_loads_in_production_and_no_asset_is_another_one() -> None:
    """Without any of the stores: what is declared does not depend on the environment."""
    code = (
        "import json; from definitions import defs; g = defs.resolve_asset_graph();"
        "print(json.dumps(sorted((k.to_user_string(), g.get(k).code_version or '') for k in g.get_all_asset_keys())))"
    )

    def assets(**more: str) -> list[list[str]]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
        child = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return [*json.loads(child.stdout.splitlines()[-1])]

    # Both in processes of their own: here another test's module may be called ``definitions``.
    local = assets()
    assert assets(FTI_ENVIRONMENT="production") == local
    assert len(local) > 10


def test_services_of_compose_have_known_keys_and_what_they_name_exists() -> None:
    services = COMPOSE["services"]
    assert set(COMPOSE) == {"name", "services", "volumes", "x-stores", "x-dagster"}
    for name, service in services.items():
        assert set(service) <= SERVICE, name
        assert "image" in service or "build" in service, name
        if "build" in service:
            assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        for other, how in service.get("depends_on", {}).items():
            condition = how["condition"]
            assert condition in ("service_started", "service_healthy", "service_completed_successfully")
            assert condition != "service_healthy" or "healthcheck" in services[other], (name, other)
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (ROOT / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"], (name, source)
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} is open to the network"
    built = {service["image"] for service in services.values() if "build" in service}
    assert built == {service["image"] for name, service in services.items() if name not in OF_OTHER_IMAGES}


def test_what_compose_sets_is_what_the_code_reads() -> None:
    read = names_read()
    for name in COMPOSE["services"].keys() - OF_OTHER_IMAGES:
        environment = set(COMPOSE["services"][name]["environment"])
        assert environment <= read, name
        assert {"FLIGHTS_MODELS", "FLIGHTS_ONLINE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= environment
        if name != "server":
            assert environment >= STORES | {"DAGSTER_PG_URL", "FTI_ENVIRONMENT"}
    secrets = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert all(f"{name}=" in PAGE for name in secrets), "the page does not say what .env holds"
    assert all(f"`{name}`" in PAGE for name in STORES | {"DAGSTER_PG_URL"})


def test_hosts_and_buckets_that_the_urls_name_are_there(environment: dict[str, str]) -> None:
    for name in ("FLIGHTS_LAKE", "FLIGHTS_ONLINE", "AWS_ENDPOINT_URL", "DAGSTER_PG_URL"):
        host = re.search(r"(?:@|//)([a-z-]+):\d+", environment[name])
        assert host is not None
        assert host[1] in COMPOSE["services"], name
    (bucket,) = {
        match
        for name in ("FLIGHTS_LAKE", "FLIGHTS_MODELS")
        for match in re.findall("s3://([a-z-]+)", environment[name])
    }
    assert f"store/{bucket}" in COMPOSE["services"]["make-bucket"]["command"][0]
    sql = (ROOT / "deploy/init.sql").read_text()
    for name in ("FLIGHTS_LAKE", "DAGSTER_PG_URL"):
        made = re.search(r":\d+/(\w+)", environment[name])
        assert made is not None
        assert f"CREATE DATABASE {made[1]};" in sql
    workspace = yaml.safe_load((ROOT / "deploy/workspace.yaml").read_text())
    (location,) = workspace["load_from"]
    assert location["grpc_server"]["host"] in COMPOSE["services"]
    assert str(location["grpc_server"]["port"]) in COMPOSE["services"]["flights"]["healthcheck"]["test"]


def steps(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, each with what follows it."""
    text = re.sub(r"\\\n\s*", "", dockerfile.read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def commands() -> Iterator[list[str]]:
    for service in COMPOSE["services"].values():
        for command in (service.get("command"), service.get("healthcheck", {}).get("test", [])[1:]):
            if command and command[0].startswith("dagster"):
                yield command
    for path in DOCKERFILES:
        (command,) = [json.loads(rest) for word, rest in steps(path) if word == "CMD"]
        yield shlex.split(command[-1].removeprefix("exec ")) if command[0] == "sh" else command


@pytest.mark.soak
@pytest.mark.parametrize("command", list(commands()), ids=lambda command: " ".join(command[:3]))
def test_commands_of_images_parse(command: list[str]) -> None:
    from click.testing import CliRunner

    program, *words = command
    match program:
        case "fti":
            from fti_assets.cli.commands import fti as cli
        case "dagster":
            from dagster._cli import create_dagster_cli

            cli = create_dagster_cli()
        case "dagster-webserver":
            from dagster_webserver.cli import dagster_webserver as cli
        case "dagster-daemon":
            from dagster._daemon.cli import create_dagster_daemon_cli

            cli = create_dagster_daemon_cli()
    # With --help at their end the words before it are parsed, and nothing is begun; a word that is no option is still refused.
    options = {word for word in words if word.startswith("--")}
    result = CliRunner().invoke(cli, [*words[: _first_option(words)], "--help"])
    assert result.exit_code == 0, result.output
    assert all(re.search(rf"{re.escape(option)}\b", result.output) for option in options), (options, result.output)


def _first_option(words: list[str]) -> int:
    return next((place for place, word in enumerate(words) if word.startswith("-")), len(words))


def is_sent(name: str) -> bool:
    """Whether .dockerignore lets a path of the repository into the build."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    sent = False
    for pattern in patterns:
        plain = pattern.removeprefix("!")
        if any(fnmatch.fnmatch(part, plain) for part in (name, name.partition("/")[0])):
            sent = pattern.startswith("!")
    return sent


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_dockerfiles_copy_what_is_there_and_install_extras_that_exist(path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    instructions = steps(path)
    assert instructions[0] == ("FROM", "python:3.11-slim-bookworm")
    assert {word for word, _ in instructions} <= {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "EXPOSE", "CMD"}
    for word, rest in instructions:
        if word == "COPY":
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() and is_sent(source) for source in sources), rest
        if word == "RUN" and "pip install" in rest:
            (extras,) = re.findall(r"'\.\[([\w,]+)\]'", rest)
            assert set(extras.split(",")) <= set(project["optional-dependencies"])
            assert "--constraint constraints.txt" in rest


def test_server_has_no_more_than_it_needs() -> None:
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", (ROOT / "deploy/server.Dockerfile").read_text())
    assert set(extras.split(",")) == {"server", "redis", "bucket"}


@pytest.mark.soak
@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_steps_of_dockerfile_run_one_after_another_in_an_empty_root(path: Path, tmp_path: Path) -> None:
    """COPY and RUN as written, in a folder for the image's work and an environment for its Python; absolute paths lie below the root."""
    root, image = tmp_path / "root", tmp_path / "python"
    subprocess.run([sys.executable, "-m", "venv", str(image)], check=True)
    place = root
    environment = {
        "PATH": f"{image}/bin:/usr/bin:/bin", "HOME": str(tmp_path),
        **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))},
    }  # fmt: skip
    for word, rest in steps(path):
        match word:
            case "WORKDIR":
                place = root / rest.lstrip("/")
                place.mkdir(parents=True)
            case "ENV":
                environment |= {pair.partition("=")[0]: pair.partition("=")[2] for pair in rest.split()}
            case "COPY":
                *sources, to = rest.split()
                target = root / to.lstrip("/") if to.startswith("/") else place / to
                for source in map(Path, sources):
                    if (ROOT / source).is_dir():
                        shutil.copytree(
                            ROOT / source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
                        )
                    else:
                        at = target / source.name if to.endswith("/") else target
                        at.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy(ROOT / source, at)
            case "RUN":
                done = subprocess.run(rest, shell=True, cwd=place, env=environment, capture_output=True, text=True)
                assert done.returncode == 0, f"{rest}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    (command,) = [json.loads(rest) for word, rest in steps(path) if word == "CMD"]
    program = "fti" if command[0] == "sh" else command[0]
    done = subprocess.run([program, "--help"], cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


def test_dagster_keeps_its_runs_in_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dg.asset
    def one() -> int:
        return 1

    with database() as name:
        monkeypatch.setenv("DAGSTER_PG_URL", f"postgresql+psycopg2://postgres@{HOST}/{name}")
        shutil.copy(ROOT / "deploy/dagster.yaml", tmp_path)
        for expected in (0, 1):  # by two processes' instances: the second one sees what the first has stored
            with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
                assert instance.get_runs_count() == expected
                assert type(instance.event_log_storage).__module__.startswith("dagster_postgres")
                if not expected:
                    assert dg.materialize([one], instance=instance).success


def test_values_of_helm_have_keys_of_the_chart_and_names_that_exist() -> None:
    assert set(HELM) == set(CHART)
    for name, keys in CHART.items():
        assert keys is None or set(HELM[name]) <= keys, name
    (deployment,) = HELM["dagster-user-deployments"]["deployments"]
    assert set(deployment) <= DEPLOYMENT
    assert deployment["dagsterApiGrpcArgs"] == ["--module-name", "definitions"]
    assert (ROOT / "definitions.py").is_file()
    assert {one["name"] for one in deployment["env"]} <= names_read()
    launcher = HELM["runLauncher"]
    assert set(launcher["config"]) == {launcher["type"][0].lower() + launcher["type"][1:]}
    coordinator = HELM["dagsterDaemon"]["runCoordinator"]
    assert set(coordinator["config"]) == {coordinator["type"][0].lower() + coordinator["type"][1:]}
    secrets = [one["name"] for one in deployment["envSecrets"] + launcher["config"]["k8sRunLauncher"]["envSecrets"]]
    assert set(secrets) == {"flights-stores"}
    assert "flights-stores" in PAGE
    mounts = {one["name"] for one in deployment["volumeMounts"]}
    assert mounts == {one["name"] for one in deployment["volumes"]}


def test_page_of_deploying_names_files_that_are_there() -> None:
    paths = set(re.findall(r"`((?:deploy/|docker-compose)[\w./-]+)`", PAGE))
    assert paths >= {"docker-compose.yml", "deploy/dagster.yaml", "deploy/helm-values.yaml"}
    assert all((ROOT / path).exists() for path in paths)
