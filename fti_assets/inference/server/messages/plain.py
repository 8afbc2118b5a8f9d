"""Plain requests: one, a list of them, or a list with other values of features and whether to explain; and their answers."""

from collections.abc import Collection
from typing import Any, NamedTuple

from fti_assets.errors import RequestError, excerpt
from fti_assets.inference.serving.answers.prediction import Explain, Prediction

MOST_EXPLAINED = 10
"""How many answers are explained at once: each asks the graph some thousand rows."""


class PlainRequests(NamedTuple):
    """What a body asks, and whether its answer is a list."""

    requests: list[Any]
    is_list: bool
    overrides: dict[str, Any] | list[Any] | None = None
    explain: Explain = False


def plain_requests(body: Any, fields: Collection[str]) -> PlainRequests:
    """The requests of a body.

    Args:
        body: a request, a list of them, or ``{"requests": [...], "overrides": {...}, "explain": true}``, where
            true explains the answers and "score" their scores, and
            the overrides are one object for all requests, or a list with an object or null for each.
        fields: the fields of the model's requests; of a model with a field ``requests`` the last form is none.

    Raises:
        RequestError: it is of the last form, and something in it is not as expected.
    """
    if not isinstance(body, dict) or "requests" not in body or "requests" in fields:
        return PlainRequests(body if isinstance(body, list) else [body], isinstance(body, list))
    requests, overrides, explain = body["requests"], body.get("overrides"), body.get("explain", False)
    if not isinstance(requests, list):
        raise RequestError(f"requests is {excerpt(requests)}: a list of requests is expected")
    if extras := [name for name in body if name not in ("requests", "overrides", "explain")]:
        raise RequestError(f"the body has {excerpt(extras[0])}: requests, overrides and explain are expected")
    if isinstance(overrides, list):
        if len(overrides) != len(requests):
            raise RequestError(
                f"overrides has {len(overrides)} elements: one for each of the {len(requests)} requests is expected"
            )
    elif "overrides" in body and not isinstance(overrides, dict):
        raise RequestError(
            f"overrides is {excerpt(overrides)}: an object of feature to value, or a list of one for each request, is expected"
        )
    if not isinstance(explain, bool) and explain != "score":
        raise RequestError(f"explain is {excerpt(explain)}: true, false or 'score' is expected")
    if explain and len(requests) > MOST_EXPLAINED:
        raise RequestError(
            f"the request has {len(requests)} rows to explain: at most {MOST_EXPLAINED} are explained at once"
        )
    return PlainRequests(requests, True, overrides, explain)


def plain_answer(prediction: Prediction, request_id: str | None = None) -> dict[str, Any]:
    """What a body has of a prediction, with the id of a request for which it is the only one."""
    answer: dict[str, Any] = {
        "value": prediction.value,
        "model": prediction.model,
        "build": prediction.build,
        "arm": prediction.arm,
        "at": prediction.at,
        "features": prediction.features,
        "ages": prediction.ages,
        "missing": prediction.missing,
        "unknown": prediction.unknown,
        "out_of_schema": prediction.out_of_schema,
        "overridden": prediction.overridden,
    }
    if prediction.explanation is not None:
        answer["explanation"] = prediction.explanation
    if request_id is not None:
        answer["request_id"] = request_id
    return answer
