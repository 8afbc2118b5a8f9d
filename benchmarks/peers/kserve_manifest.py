"""KServe's own objects made of an InferenceService, in an environment of their own: ``python kserve_manifest.py FILE``.

Every field must be one that the object has, and each object must accept what it is given. The last line printed is what the
objects say, as JSON.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import kserve
import yaml
from kubernetes import client


def made(kind: str, value: Any, path: str) -> Any:
    """A value as the SDK's type of it."""
    if (inner := re.fullmatch(r"list\[(.+)\]", kind)) is not None:
        return [made(inner[1], one, f"{path}[{place}]") for place, one in enumerate(value)]
    if (inner := re.fullmatch(r"dict\(str, (.+)\)", kind)) is not None:
        return {name: made(inner[1], one, f"{path}.{name}") for name, one in value.items()}
    model = getattr(kserve, kind, None) or getattr(client, kind, None)
    if model is None:  # a plain type
        if kind in ("str", "int", "bool") and type(value).__name__ != kind:
            raise TypeError(f"{path} is {value!r}, not {kind}")
        return value
    names = {attribute: name for name, attribute in model.attribute_map.items()}
    if unknown := value.keys() - names.keys():
        raise TypeError(f"{path} has {sorted(unknown)}, which {kind} has not")
    fields = {names[name]: made(model.openapi_types[names[name]], one, f"{path}.{name}") for name, one in value.items()}
    return model(**fields)


def sent(value: Any) -> Any:
    """What an object says, under the names of the cluster, without what it does not say."""
    if isinstance(value, list):
        return [sent(one) for one in value]
    if isinstance(value, dict):
        return {name: sent(one) for name, one in value.items()}
    names = getattr(value, "attribute_map", None)
    if names is None:
        return value
    return {
        attribute: sent(one) for name, attribute in names.items() if (one := getattr(value, name)) not in (None, "")
    }


def main() -> None:
    manifest = yaml.safe_load(Path(sys.argv[1]).read_text())
    service = made("V1beta1InferenceService", manifest, "$")
    print(json.dumps(sent(service)))


if __name__ == "__main__":
    main()
