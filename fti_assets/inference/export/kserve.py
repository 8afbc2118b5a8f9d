"""A model as KServe's InferenceService: Triton runs the graph, and ``fti serve`` before it looks the features up."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fti_assets.core.addresses import secrets_of
from fti_assets.errors import DeclarationError, excerpt

_PORT = 8080
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_ONLINE = "FTI_ONLINE_STORE"


@dataclass(frozen=True)
class Service:
    """How a model is run on a cluster.

    Args:
        model: its name.
        build: which build.
        storage_uri: where the exported folder is put, such as ``s3://models/delay_net``.
        image: of the containers that look features up: this library with the extra ``server``.
        online: the online store as the cluster reaches it; None for a model without groups.
        looks_up: whether there are features at all; a graph of somebody's own has none.
    """

    model: str
    build: str
    storage_uri: str
    image: str = ""
    online: str | None = None
    looks_up: bool = True

    @property
    def name(self) -> str:
        """The service's name: the model's, as names of a cluster are."""
        return self.model.replace("_", "-").strip("-")

    @property
    def secret(self) -> str | None:
        """The name of the secret that holds the address of the online store, None if the address holds no password."""
        return f"{self.name}-online" if self.online is not None and any(secrets_of(self.online)) else None

    def manifest(self) -> dict[str, Any]:
        """The InferenceService, of serving.kserve.io/v1beta1.

        Raises:
            DeclarationError: the model's name cannot be a service's, or the image is missing.
        """
        if not _NAME.fullmatch(self.name) or len(self.name) > 53:  # KServe adds "-transformer" of 63
            raise DeclarationError(
                f"model {excerpt(self.model)} cannot be a service's name: it needs a letter in front and at most 53"
            )
        predictor = {
            "model": {
                "modelFormat": {"name": "triton"},
                "protocolVersion": "v2",
                "storageUri": f"{self.storage_uri.rstrip('/')}/repository",
            }
        }
        spec: dict[str, Any] = {"predictor": predictor}
        if self.looks_up:
            if not self.image:
                raise DeclarationError(
                    f"model {self.model!r} looks features up on KServe in containers of an image of yours, with fti-assets[server] "
                    "installed: name it with --image"
                )
            spec["transformer"] = {"containers": [self._container()]}
        return {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {
                "name": self.name,
                "annotations": {"fti-assets/model": self.model, "fti-assets/build": self.build},
            },
            "spec": spec,
        }

    def _container(self) -> dict[str, Any]:
        command = [
            "fti",
            "serve",
            self.model,
            "--models",
            "/mnt/models/models",
            "--host",
            "0.0.0.0",
            "--port",
            str(_PORT),
        ]
        graph_server = f'"http://{self.name}-predictor.$NAMESPACE.svc.cluster.local"'
        online = f' --online "${_ONLINE}"' if self.online is not None else ""
        where: dict[str, Any] = {"name": _ONLINE, "value": self.online}
        if self.secret is not None:
            where = {"name": _ONLINE, "valueFrom": {"secretKeyRef": {"name": self.secret, "key": "address"}}}
        ready = {"httpGet": {"path": "/v2/health/ready", "port": _PORT}}
        return {
            "name": "kserve-container",
            "image": self.image,
            # KServe puts arguments of its own behind these, which the shell takes for names of its script.
            "command": ["sh", "-c"],
            "args": [f"exec {shlex.join(command)}{online} --graph-server {graph_server}"],
            "env": [
                {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                # Which has KServe put the folder under /mnt/models.
                {"name": "STORAGE_URI", "value": f"{self.storage_uri.rstrip('/')}/transformer"},
                {"name": "PYTHONPATH", "value": "/mnt/models/code"},
                *([where] if self.online is not None else []),
            ],
            "ports": [{"containerPort": _PORT, "protocol": "TCP"}],
            "readinessProbe": ready,
        }


def as_yaml(value: Any) -> str:
    """A manifest of mappings, lists and texts as YAML.

    >>> print(as_yaml({"a": [{"b": "c"}, {"d": 1}]}), end="")
    a:
      - b: "c"
      - d: 1
    """
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    items = (
        [("- ", item) for item in value]
        if isinstance(value, list)
        else [(f"{key}:", item) for key, item in value.items()]
    )
    for head, item in items:
        if not isinstance(item, dict | list) or not item:
            yield f"{head.rstrip()} {json.dumps(item)}"  # JSON's texts are YAML's
        elif head == "- ":
            first, *rest = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
        else:
            yield head
            yield from (f"  {line}" for line in _lines(item))
