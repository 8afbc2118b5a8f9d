"""Lists of requests: of any kind of sequence, told from what is none without reading more of it than that takes."""

from collections.abc import Mapping, Sequence
from typing import Any

from fti_assets.errors import RequestError, class_name, excerpt
from fti_assets.inference.serving.requests.form import is_mapping, kind, unreadable

Request = Mapping[str, Any]

_MOST_WRONG = 20
"""So many elements of a sequence that are no mappings are enough to refuse it."""


def requests_of(requests: Any) -> Sequence[Request]:
    """The requests of a list or another sequence.

    Raises:
        RequestError: it is none, cannot be read, or holds many elements that are no mappings.
    """
    if type(requests) in (list, tuple):
        if len(requests) > _MOST_WRONG and not any(map(is_mapping, requests[:_MOST_WRONG])):
            raise _no_requests(requests, 0, requests[0])
        return requests  # type: ignore[no-any-return]
    try:
        if isinstance(requests, Sequence) and not isinstance(requests, str | bytes):
            result: list[Request] = []
            wrong: list[int] = []
            for index, request in enumerate(requests):  # not list(), which asks for a length, which may be any
                result.append(request)
                if not is_mapping(request):
                    wrong.append(index)
                    if len(wrong) > _MOST_WRONG:  # it may be endless
                        raise _no_requests(requests, wrong[0], result[wrong[0]])
            return result
    except RequestError:
        raise
    except Exception as error:  # whatever a client's value raises when it is looked at
        raise RequestError(f"the requests are {unreadable(requests, error)}: a list of them is expected") from None
    raise RequestError(
        f"the request is {excerpt(requests)}, a {class_name(requests)}: a mapping of field to value, "
        "or a list of them, is expected"
    )


def _no_requests(requests: object, index: int, request: object) -> RequestError:
    return RequestError(
        f"the requests are {excerpt(requests)}, a {class_name(requests)}: request {index} is {excerpt(request)}, {kind(request)}, and "
        "others are no mappings either: a mapping of field to value, or a list of them, is expected"
    )
