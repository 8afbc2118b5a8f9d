"""What a server says of its models: metadata, configuration, OpenAPI, and a page on which to try them."""

import json
from html import escape
from importlib.resources import files
from typing import Any

from fti_assets.core.manifest import Column, ModelManifest
from fti_assets.inference.server.limits import Limits
from fti_assets.inference.server.repository import Repository
from fti_assets.inference.server.served import PLATFORM, Served, ServedPredictor, TensorSpec

_JSON_TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": ["string", "null"]},
    "integer": {"type": ["integer", "null"]},
    "number": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "timestamp": {"type": ["string", "null"], "format": "date-time"},
}
_EXAMPLES = {"text": "text", "integer": 1, "number": 1.5, "boolean": True, "timestamp": "2026-01-31T12:00:00"}
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


def metadata_of(served: Served) -> dict[str, Any]:
    """A model's metadata, as the protocol has them."""
    return {
        "name": served.name,
        "versions": [served.version],
        "platform": PLATFORM,
        "inputs": [spec.as_json() for spec in served.inputs],
        "outputs": [spec.as_json() for spec in served.outputs],
    }


def config_of(served: Served) -> dict[str, Any]:
    """A model's configuration, as the protocol's extension has it."""

    def tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        names = {"BYTES": "STRING"}
        return [
            {"name": one.name, "data_type": f"TYPE_{names.get(one.datatype, one.datatype)}", "dims": list(one.shape)}
            for one in specs
        ]

    return {
        "name": served.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": tensors(served.inputs),
        "output": tensors(served.outputs),
        "version_policy": {"latest": {"num_versions": 1}},
    }


def example_of(served: ServedPredictor) -> dict[str, Any]:
    """A request with values that the model has seen where its manifest keeps some: a category, a mean."""
    serving = served.predictor.serving
    return {field.name: _example(field, serving.manifest) for field in serving.fields}


def _example(field: Column, manifest: ModelManifest) -> Any:
    encoder = manifest.encoders.get(field.name)
    if isinstance(encoder, dict):
        categories = [one for one in encoder.get("categories", ()) if one not in (None, "")]
        if categories:
            return categories[0]
        mean = encoder.get("mean")
        if isinstance(mean, int | float):
            return round(mean) if field.type == "integer" else round(float(mean), 4)
    return _EXAMPLES[field.type]


def openapi(repository: Repository, limits: Limits) -> dict[str, Any]:
    """The server's OpenAPI document, with a path for the plain requests of each model."""
    paths: dict[str, Any] = {
        "/v2/health/live": {"get": _operation("Whether the server runs", "liveness")},
        "/v2/health/ready": {"get": _operation("Whether all its models can answer", "readiness", (400,))},
        "/v2": {"get": _operation("What the server is", "server_metadata", (401,))},
        "/v2/models/stats": {"get": _operation("What the models were asked", "statistics", (401,))},
        "/v2/repository/index": {
            "post": _operation("The models of the store", "repository_index", (400, 401), body={"type": "object"})
        },
        "/metrics": {"get": _operation("What was counted, for Prometheus", "metrics", (401,), answer="text/plain")},
    }
    for entry in repository.index(ready=True):
        served = repository.get(entry["name"])
        name = served.name
        infer = {
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "id": {"type": "string"},
                "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/InputTensor"}},
            },
        }
        paths[f"/v2/models/{name}"] = {"get": _operation(f"What {name} takes and gives", f"{name}_metadata", (401,))}
        paths[f"/v2/models/{name}/ready"] = {
            "get": _operation(f"Whether {name} can answer", f"{name}_ready", (400, 401))
        }
        refusals = (400, 401, 408, 413, 415, 422, 503)
        paths[f"/v2/models/{name}/infer"] = {
            "post": _operation(f"Ask {name} in tensors", f"{name}_infer", refusals, body=infer)
        }
        if isinstance(served, ServedPredictor):
            paths[f"/predict/{name}"] = {"post": _plain_requests(served, refusals)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "fti_assets", "version": "1", "description": f"At most {limits.rows} rows a request."},
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}, "request_id": {"type": "string"}},
                },
                "InputTensor": {
                    "type": "object",
                    "required": ["name", "datatype", "shape", "data"],
                    "properties": {
                        "name": {"type": "string"},
                        "datatype": {"type": "string"},
                        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                        "data": {"type": "array"},
                    },
                },
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _plain_requests(served: ServedPredictor, refusals: tuple[int, ...]) -> dict[str, Any]:
    serving = served.predictor.serving
    keys = set(serving.manifest.view.spine_keys)
    fields = {field.name: _JSON_TYPES[field.type] for field in serving.fields}
    for name in keys & fields.keys():
        fields[name] = fields[name] | {"type": fields[name]["type"][0]}
    row = {"type": "object", "required": list(fields), "properties": fields, "additionalProperties": False}
    operation = _operation(
        f"Ask {served.name} in plain JSON", f"{served.name}_predict", refusals,
        body={"oneOf": [row, {"type": "array", "items": row}]},
    )  # fmt: skip
    operation["requestBody"]["content"]["application/json"]["example"] = example_of(served)
    operation["parameters"] = [
        {
            "name": "at",
            "in": "query",
            "schema": {"type": "string", "format": "date-time"},
            "description": "the prediction time",
        }
    ]
    return operation


def _operation(
    summary: str,
    identifier: str,
    refusals: tuple[int, ...] = (),
    *,
    body: dict[str, Any] | None = None,
    answer: str = "application/json",
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "operationId": identifier.replace(".", "_"),
        "responses": {
            "200": {"description": "the answer", "content": {answer: {"schema": {}}}},
            **{str(status): {"description": "refused", "content": _ERROR} for status in refusals},
        },
    }
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return operation


def page(repository: Repository) -> bytes:
    """The page on which to try the models; it loads nothing from elsewhere."""
    examples = {}
    for entry in repository.index(ready=True):
        served = repository.get(entry["name"])
        if isinstance(served, ServedPredictor):
            examples[served.name] = {"example": example_of(served), "build": served.build}
    data = json.dumps(examples, default=str).replace("<", "\\u003c")  # no text of a model may end the script
    options = "".join(f"<option>{escape(name)}</option>" for name in examples)
    template = files("fti_assets.inference.server").joinpath("page.html").read_text(encoding="utf-8")
    return template.replace("{{models}}", options).replace("{{data}}", data).encode()
