"""Requests made from OpenAPI documents, right and wrong: every answer is one that is documented, and none is a 500."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
)

from fti_assets.inference.server import ServingApp, serving_app
from fti_assets.stores.models.plain import publish_graph
from tests.inference.test_predictor import world
from tests.support.examples import SOAK, examples
from tests.support.serving import ask, sum_and_difference

__all__ = ["world"]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
CASES = 420
"""A request with a body, of either kind: there are twelve of these in our document, so 10,000 cases in all."""

ANYTHING: dict[str, Any] = {"type": ["object", "array", "string", "number", "boolean", "null"]}
NAME = {"in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 40}}
STATUSES = {str(status): {"description": "an answer"} for status in (200, 400, 404, 405, 408, 413, 415, 422, 503)}


def operation(*names: str, body: Any = None) -> dict[str, Any]:
    described: dict[str, Any] = {"parameters": [NAME | {"name": name} for name in names], "responses": STATUSES}
    if body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return described


TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": ANYTHING},
    },
}
REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "items": TENSOR},
        "outputs": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
    },
}
PROTOCOL = {
    "openapi": "3.1.0",
    "info": {"title": "The Open Inference Protocol v2, whatever is served", "version": "2"},
    "paths": {
        "/v2/health/live": {"get": operation()},
        "/v2/health/ready": {"get": operation()},
        "/v2/": {"get": operation()},
        "/v2/models/{model}": {"get": operation("model")},
        "/v2/models/{model}/ready": {"get": operation("model")},
        "/v2/models/{model}/versions/{version}": {"get": operation("model", "version")},
        "/v2/models/{model}/versions/{version}/ready": {"get": operation("model", "version")},
        "/v2/models/{model}/infer": {"post": operation("model", body=REQUEST)},
        "/v2/models/{model}/versions/{version}/infer": {"post": operation("model", "version", body=REQUEST)},
        "/v2/models/simple/infer": {"post": operation(body=REQUEST)},
        "/v2/models/delay_net.graph/infer": {"post": operation(body=REQUEST)},
        "/v2/repository/models/{model}/load": {"post": operation("model", body=ANYTHING)},
    },
}
"""The protocol as its specification has it, with any name and any tensor."""


@pytest.fixture
def app(world: Any) -> Iterator[ServingApp]:
    publish_graph(world.models, "simple", sum_and_difference())
    one = serving_app("delay_net", "simple", models=world.models.root, online=world.online.root)
    yield one
    one.repository.close()  # the thread that follows champions would warn of a store that is gone


@pytest.mark.hypothesis
@pytest.mark.parametrize(
    "mode",
    [GenerationMode.POSITIVE, pytest.param(GenerationMode.NEGATIVE, marks=pytest.mark.soak)],
    ids=lambda mode: mode.value,
)
def test_requests_of_our_document_are_answered_as_it_says(app: ServingApp, mode: GenerationMode):
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    paths = try_all(schema, mode, [*CHECKS])
    assert mode is GenerationMode.NEGATIVE or paths == ask(app, "GET", "/openapi.json").json["paths"].keys() - UNLOADS
    # Plain requests are described whole, so that one that fits its description has an answer.
    if mode is GenerationMode.POSITIVE:
        assert try_all(schema, mode, [positive_data_acceptance], "/predict/delay_net")


UNLOADS = {f"/v2/repository/models/{name}/unload" for name in ("delay_net", "delay_net.graph", "simple")}
"""What would leave nothing to ask for the operations that follow."""


@pytest.mark.soak
@pytest.mark.hypothesis
@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
def test_requests_of_the_protocol_for_any_model_are_answered(app: ServingApp, mode: GenerationMode):
    schema = schemathesis.openapi.from_dict(PROTOCOL)
    schema.app = app
    tried = try_all(schema, mode, [not_a_server_error, status_code_conformance])
    assert mode is GenerationMode.NEGATIVE or tried == PROTOCOL["paths"].keys()


def try_all(schema: Any, mode: GenerationMode, checks: Any, only: str | None = None) -> set[str]:
    """Make requests of each operation and check their answers; the paths that were tried."""
    tried = set()
    for result in schema.get_all_operations():
        one = result.ok()
        has_parts = one.body or one.path_parameters or one.query
        if one.path in UNLOADS or (only is not None and one.path != only):
            continue
        if mode is GenerationMode.NEGATIVE and not has_parts:  # there is nothing to get wrong
            continue
        observed = set()

        @settings(
            max_examples=examples(CASES) if SOAK else (3 if has_parts else 1),
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(case=one.as_strategy(generation_mode=mode))
        def answered(case: Any) -> None:
            assume(positive_data_acceptance not in checks or (is_paired(case.body) and has_instants(case)))
            response = case.call()
            observed.add(response.status_code)  # noqa: B023
            case.validate_response(response, checks=checks)

        answered()
        assert observed, one.path
        tried.add(one.path)
    return tried


def has_instants(case: Any) -> bool:
    """Whether all times are within the years 1 to 9999 in UTC, which a schema cannot say."""
    requests = case.body.get("requests", [case.body]) if isinstance(case.body, dict) else case.body
    texts = [
        text for one in [case.query or {}, *requests] for text in one.values() if _STARTS_AT_AN_END.match(str(text))
    ]
    return not texts


_STARTS_AT_AN_END = re.compile(r"(0001-01-01|9999-12-31)[T ]")


def is_paired(body: Any) -> bool:
    """Whether a list of overrides is as long as its requests, which a schema cannot say."""
    overrides = body.get("overrides") if isinstance(body, dict) else None
    return not isinstance(overrides, list) or len(overrides) == len(body["requests"])
