"""What a server says of its models: metadata, configuration, and a page on which to try them."""

import json
from html import escape
from importlib.resources import files
from typing import Any

from fti_assets.core.manifest import Column, ModelManifest
from fti_assets.inference.server.endpoints.endpoint import PLATFORM, Endpoint, TensorSpec
from fti_assets.inference.server.endpoints.repository import Repository
from fti_assets.inference.server.endpoints.served_predictor import ServedPredictor

_EXAMPLES = {"text": "text", "integer": 1, "number": 1.5, "boolean": True, "timestamp": "2026-01-31T12:00:00"}


def metadata_of(endpoint: Endpoint) -> dict[str, Any]:
    """A model's metadata, as the protocol has them."""
    return {
        "name": endpoint.name,
        "versions": [endpoint.version],
        "platform": PLATFORM,
        "inputs": [spec.as_json() for spec in endpoint.inputs],
        "outputs": [spec.as_json() for spec in endpoint.outputs],
    }


def config_of(endpoint: Endpoint) -> dict[str, Any]:
    """A model's configuration, as the protocol's extension has it."""

    def tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        names = {"BYTES": "STRING"}
        return [
            {"name": one.name, "data_type": f"TYPE_{names.get(one.datatype, one.datatype)}", "dims": list(one.shape)}
            for one in specs
        ]

    return {
        "name": endpoint.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": tensors(endpoint.inputs),
        "output": tensors(endpoint.outputs),
        "version_policy": {"latest": {"num_versions": 1}},
    }


def example_of(endpoint: ServedPredictor) -> dict[str, Any]:
    """A request with values that the model has seen where its manifest keeps some: a category, a mean."""
    serving = endpoint.predictor.serving
    return {field.name: _example(field, serving.manifest) for field in serving.fields}


def _example(field: Column, manifest: ModelManifest) -> Any:
    dim = next((one.dim for one in manifest.inputs if one.features[:1] == (field.name,)), None)
    if dim is not None:
        return [0.0] * dim
    encoder = manifest.encoders.get(field.name)
    if isinstance(encoder, dict):
        categories = [one for one in encoder.get("categories", ()) if one not in (None, "")]
        if categories:
            return categories[0]
        mean = encoder.get("mean")
        if isinstance(mean, int | float):
            return round(mean) if field.type == "integer" else round(float(mean), 4)
    return _EXAMPLES.get(field.type)


def page(repository: Repository) -> bytes:
    """The page on which to try the models; it loads nothing from elsewhere."""
    examples = {}
    for entry in repository.index(ready=True):
        endpoint = repository.get(entry["name"])
        if isinstance(endpoint, ServedPredictor):
            examples[endpoint.name] = {"example": example_of(endpoint), "build": endpoint.build}
    data = json.dumps(examples, default=str).replace("<", "\\u003c")  # no text of a model may end the script
    options = "".join(f"<option>{escape(name)}</option>" for name in examples)
    template = files("fti_assets.inference.server").joinpath("page.html").read_text(encoding="utf-8")
    return template.replace("{{models}}", options).replace("{{data}}", data).encode()
