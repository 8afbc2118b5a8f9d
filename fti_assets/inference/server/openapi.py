"""The server's OpenAPI document: the Open Inference Protocol as it is spoken here, and plain JSON."""

from collections.abc import Mapping
from typing import Any

from fti_assets.core.manifest import Column
from fti_assets.core.types import ColumnType
from fti_assets.inference.server.endpoints.endpoint import Endpoint
from fti_assets.inference.server.endpoints.repository import Repository
from fti_assets.inference.server.endpoints.served_predictor import ServedPredictor
from fti_assets.inference.server.limits import Limits
from fti_assets.inference.server.messages.plain import MOST_EXPLAINED
from fti_assets.inference.server.messages.tensors import DATATYPES
from fti_assets.inference.server.pages import example_of

Schema = dict[str, Any]

_JSON_TYPES: dict[ColumnType, Schema] = {
    "text": {"type": ["string", "null"]},
    "integer": {"type": ["integer", "null"], "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
    "number": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "timestamp": {"type": ["string", "null"], "format": "date-time"},
    "vector": {"type": ["array", "null"], "items": {"type": ["number", "null"]}},
}
_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_REFUSALS = (400, 401, 404, 408, 413, 415, 422, 503)
"""What a request to a model may be refused with."""


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None, **more: Any) -> Schema:
    """An object with some properties."""
    return {"type": "object", "required": list(required), "properties": required | (optional or {}), **more}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(name: str) -> Schema:
    return {"type": "array", "items": _ref(name)}


_DURATION = _object({"count": _COUNT, "ns": _COUNT})
_TENSOR = {
    "name": _TEXT,
    "datatype": {"type": "string", "enum": list(DATATYPES)},
    "shape": {"type": "array", "items": _COUNT},
}
_SPEC = _TENSOR | {"shape": {"type": "array", "items": {"type": "integer", "minimum": -1}}}
_PARAMETERS: Schema = {"type": "object"}
_AGES: Schema = {"type": "object", "additionalProperties": {"type": ["number", "null"]}}
_ANSWER_FIELDS = {"model": _TEXT, "build": _TEXT, "arm": _TEXT, "at": _TEXT}
_SCHEMAS: dict[str, Schema] = {
    "Error": _object({"error": _TEXT}, {"request_id": _TEXT}),
    "Live": _object({"live": {"type": "boolean"}}),
    "Ready": _object({"ready": {"type": "boolean"}}, {"name": _TEXT}),
    "Server": _object({"name": _TEXT, "version": _TEXT, "extensions": _TEXTS}),
    "TensorSpec": _object(_SPEC),
    "Model": _object(
        {
            "name": _TEXT,
            "versions": _TEXTS,
            "platform": _TEXT,
            "inputs": _list("TensorSpec"),
            "outputs": _list("TensorSpec"),
        }
    ),
    "Config": _object({"name": _TEXT, "platform": _TEXT, "backend": _TEXT, "max_batch_size": _COUNT}),
    "Statistics": _object({"model_stats": _list("ModelStatistics")}),
    "ModelStatistics": _object(
        {
            "name": _TEXT,
            "version": _TEXT,
            "last_inference": _COUNT,
            "inference_count": _COUNT,
            "execution_count": _COUNT,
            "inference_stats": {"type": "object", "additionalProperties": _DURATION},
        }
    ),
    "InputTensor": _object(
        _TENSOR, {"data": {"type": "array"}, "parameters": _object({}, {"binary_data_size": _COUNT})}
    ),
    "RequestedOutput": _object({"name": _TEXT}, {"parameters": _PARAMETERS}),
    "InferRequest": _object(
        {"inputs": _list("InputTensor")},
        {"id": _TEXT, "parameters": _PARAMETERS, "outputs": _list("RequestedOutput")},
    ),
    "OutputTensor": _object(_TENSOR, {"data": {"type": "array"}, "parameters": _PARAMETERS}),
    "InferResponse": _object(
        {"model_name": _TEXT, "outputs": _list("OutputTensor")},
        {"id": _TEXT, "model_version": _TEXT, "parameters": _PARAMETERS},
    ),
    "Prediction": _object(
        {
            "value": {"type": ["number", "object", "null"], "additionalProperties": {"type": ["number", "null"]}},
            **_ANSWER_FIELDS,
            "features": {"type": "object"},
            "ages": _AGES,
            "missing": _TEXTS,
            "unknown": _TEXTS,
            "out_of_schema": _TEXTS,
            "overridden": _TEXTS,
        },
        {"request_id": _TEXT, "explanation": _ref("Explanation")},
    ),
    "Explanation": _object(
        {
            "base": {"type": ["number", "object", "null"], "additionalProperties": {"type": ["number", "null"]}},
            "contributions": {"type": "object"},
            "rows": _COUNT,
            "exact": {"type": "boolean"},
            "of": {"enum": ["answer", "score"]},
        }
    ),
    "Predictions": _object({"predictions": _list("Prediction"), "request_id": _TEXT}),
    "IndexRequest": _object({}, {"ready": {"type": "boolean"}}),
    "IndexedModel": _object(
        {"name": _TEXT, "version": _TEXT, "state": {"enum": ["READY", "UNAVAILABLE"]}, "reason": _TEXT}
    ),
    "Nothing": _object({}, additionalProperties=False),
}


def openapi(repository: Repository, limits: Limits) -> dict[str, Any]:
    """The document, with paths of its own for each model that is loaded."""
    paths: dict[str, Any] = {
        "/v2/health/live": {"get": _operation("Whether the server runs", "liveness", "Live", refusals=())},
        "/v2/health/ready": {
            "get": _operation("Whether all its models can answer", "readiness", "Ready", refusals=()) | _not_ready()
        },
        "/v2": {"get": _operation("What the server is", "server_metadata", "Server")},
        "/v2/models/stats": {"get": _operation("What the models were asked", "statistics", "Statistics")},
        "/v2/repository/index": {
            "post": _operation(
                "The models of the store", "repository_index", _list("IndexedModel"),
                body=_ref("IndexRequest"), refusals=(400, 401, 408, 413, 415),
            )
        },
        "/metrics": {"get": _operation("What was counted, for Prometheus", "metrics", _TEXT, content="text/plain")},
    }  # fmt: skip
    for entry in repository.index(ready=True):
        paths |= _paths_of(repository.get(entry["name"]), limits)
    return {
        "openapi": "3.1.0",
        "info": {"title": "fti_assets", "version": "1", "description": f"At most {limits.rows} rows a request."},
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths_of(endpoint: Endpoint, limits: Limits) -> dict[str, Any]:
    name = endpoint.name
    paths: dict[str, Any] = {}
    for path, suffix in ((f"/v2/models/{name}", ""), (f"/v2/models/{name}/versions/{endpoint.version}", "_version")):
        paths[path] = {"get": _operation(f"What {name} takes and gives", f"{name}_metadata{suffix}", "Model")}
        ready = _operation(f"Whether {name} can answer", f"{name}_ready{suffix}", "Ready", refusals=(401, 404))
        paths[f"{path}/ready"] = {"get": ready | _not_ready(ready["responses"])}
        paths[f"{path}/config"] = {"get": _operation(f"How {name} is served", f"{name}_config{suffix}", "Config")}
        paths[f"{path}/stats"] = {"get": _operation(f"What {name} was asked", f"{name}_stats{suffix}", "Statistics")}
        infer = _operation(
            f"Ask {name} in tensors", f"{name}_infer{suffix}", "InferResponse",
            body=_ref("InferRequest"), needs_body=True, refusals=_REFUSALS,
        )  # fmt: skip
        paths[f"{path}/infer"] = {"post": infer}
    for act in ("load", "unload"):
        paths[f"/v2/repository/models/{name}/{act}"] = {
            "post": _operation(
                f"{act.capitalize()} {name}", f"{name}_{act}", "Nothing",
                body=_ref("Nothing"), refusals=(400, 401, 408, 413, 415),
            )
        }  # fmt: skip
    if isinstance(endpoint, ServedPredictor):
        paths[f"/predict/{name}"] = {"post": _plain_requests(endpoint, limits)}
    return paths


def _plain_requests(endpoint: ServedPredictor, limits: Limits) -> dict[str, Any]:
    serving = endpoint.predictor.serving
    keys = set(serving.manifest.view.spine_keys)
    fields = {field.name: _json_type(field, serving.dims) for field in serving.fields}
    for name in keys & fields.keys():
        fields[name] = fields[name] | {"type": fields[name]["type"][0]}
    row = _object(fields, additionalProperties=False)
    bodies = [row, {"type": "array", "items": row, "maxItems": limits.rows}]
    if "requests" not in fields:
        bodies += _what_if(endpoint, row, limits)
    operation = _operation(
        f"Ask {endpoint.name} in plain JSON", f"{endpoint.name}_predict",
        {"oneOf": [_ref("Prediction"), _ref("Predictions")]},
        body={"oneOf": bodies}, needs_body=True, refusals=_REFUSALS,
    )  # fmt: skip
    operation["requestBody"]["content"]["application/json"]["example"] = example_of(endpoint)
    operation["parameters"] = [
        {
            "name": "at",
            "in": "query",
            "schema": {"type": "string", "format": "date-time"},
            "description": "the prediction time, in UTC within the years 1 to 9999",
        }
    ]
    return operation


def _json_type(field: Column, dims: Mapping[str, int]) -> Schema:
    dim = dims.get(field.name)
    return _JSON_TYPES[field.type] | ({} if dim is None else {"minItems": dim, "maxItems": dim})


def _what_if(endpoint: ServedPredictor, row: Schema, limits: Limits) -> list[Schema]:
    """The bodies of requests with other values of features, without and with explanations."""
    serving = endpoint.predictor.serving
    features = {one.name: _json_type(one, serving.dims) for one in serving.overridable}
    values = _object({}, features, additionalProperties=False)

    def body(required: dict[str, Schema], optional: dict[str, Schema], most: int) -> Schema:
        requests = {"requests": {"type": "array", "items": row, "maxItems": most}}
        of_each = {"type": "array", "items": values | {"type": ["object", "null"]}, "maxItems": most}
        of_each["description"] = "one for each request, in their order; null for none"
        overrides = {"overrides": {"oneOf": [values | {"description": "for all requests"}, of_each]}}
        return _object(requests | required, optional | overrides, additionalProperties=False)

    bodies = [body({}, {"explain": {"enum": [False]}}, limits.rows)]
    if serving.can_explain:
        bodies.append(body({"explain": {"enum": [True, "score"]}}, {}, min(MOST_EXPLAINED, limits.rows)))
    return bodies


def _operation(
    summary: str,
    identifier: str,
    answer: str | Schema,
    *,
    body: Schema | None = None,
    needs_body: bool = False,
    refusals: tuple[int, ...] = (401,),
    content: str = "application/json",
) -> dict[str, Any]:
    schema = _ref(answer) if isinstance(answer, str) else answer
    operation: dict[str, Any] = {
        "summary": summary,
        "operationId": identifier.replace(".", "_"),
        "responses": {
            "200": {"description": "the answer", "content": {content: {"schema": schema}}},
            **{str(status): _json("refused", "Error") for status in refusals},
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": needs_body, "content": {"application/json": {"schema": body}}}
    return operation


def _not_ready(responses: dict[str, Any] | None = None) -> dict[str, Any]:
    """The responses of a question for readiness: 400 says that it is not."""
    common = {"200": _json("it can answer", "Ready"), "400": _json("it cannot answer now", "Ready")}
    return {"responses": (responses or {}) | common}


def _json(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}
