"""What of an address may be shown: everything but its passwords, keys and signatures.

Whatever shows an address, or the words of a library that was given one, asks here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

_NUMBER = r"\d+(\.\d+)?"
_NAME = r"[^;&=@]*"
_HARMLESS = {
    "prefix": _NAME,
    "db": r"\d+",
    "socket_timeout": _NUMBER,
    "socket_connect_timeout": _NUMBER,
    "sslmode": r"[a-z-]+",
    "connect_timeout": _NUMBER,
    "application_name": _NAME,
}
"""The options of a URL that are shown, each where it is what it should be; any other may hold a password or a signature."""

# Names are of a bounded length wherever one is searched for, or a long text takes time by the square of its length.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,40}):/{1,2}[^\s'\"]*")
_START = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,2}")
_WITHOUT_SLASHES = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:)([^/\\].*@.*)", re.DOTALL)
"""An address whose slashes were forgotten, ``redis:ann:pw@host``."""
_SECRET_NAME = (
    r"((?:(?:password|passwd|passphrase|pwd|secret|token|signature|credential|access_key|api[_-]?key)[\w-]{0,40}"
    r"|scram_\w{1,40}_key)\s*=\s*)"
)
_QUOTED = r"""'(?:[^'\\]|\\.)*(?:'|$)|"(?:[^"\\]|\\.)*(?:"|$)"""
_PAIR = re.compile(rf"(?si){_SECRET_NAME}({_QUOTED}|(?:\\.|[^\s&'\",;\\])+)")
"""A secret in a text, where what comes after it may be the text's."""
_WHOLE_PAIR = re.compile(rf"(?si){_SECRET_NAME}((?:{_QUOTED})\S*|(?:\\.|\S)+)")
"""A secret in an address of pairs, which ends at a space that is not escaped."""
_REDIS = ("redis:", "rediss:")
_LONE_USERS = ("postgres:", "postgresql:", "ssh:", "sftp:")
_SHORTEST = 3
"""A secret of fewer letters is not looked for in a text: too much of it would go."""


def is_address(location: object) -> bool:
    """Whether a location is an address of something, and no folder.

    >>> is_address("redis://host/0"), is_address("s3:/bucket"), is_address("stores/online")
    (True, True, False)
    """
    return isinstance(location, str | os.PathLike) and _START.match(str(location)) is not None


def shown(address: object) -> str:
    """An address without its secrets: a URL, or ``name=value`` pairs. A folder is shown as it is.

    >>> shown("redis://ann:pw@host:6379/0?prefix=shop&password=pw")
    'redis://ann:***@host:6379/0?prefix=shop'
    >>> shown("host=db user=ann password='p w'")
    'host=db user=ann password=***'
    """
    text = str(address).lstrip()
    if _START.match(text) is not None:
        return _shown_url(text)
    if (match := _WITHOUT_SLASHES.match(text)) is not None:
        return f"{match[1]}***"
    if _URL.search(text) is None:
        return _WHOLE_PAIR.sub(r"\1***", str(address))
    return _WHOLE_PAIR.sub(r"\1***", _URL.sub(lambda url: _shown_url(url[0]), text))


def scrubbed(text: str, secrets: Iterable[str] = ()) -> str:
    """A text, such as another library's error, without some secrets, and without those of the URLs and ``name=value`` pairs in it.

    >>> scrubbed("cannot reach 'https://ann:pw@host/x?sig=abc'")
    "cannot reach 'https://ann:***@host/x'"
    """
    for secret in sorted({one for one in secrets if len(one) >= _SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _PAIR.sub(r"\1***", _URL.sub(lambda url: _shown_url(url[0]), text))


def secrets_of(address: object) -> Iterator[str]:
    """The secrets of an address, as they are written and as they are meant."""
    text = str(address).lstrip()
    for _, value in [*_WHOLE_PAIR.findall(text), *_PAIR.findall(text)]:
        yield value
        yield value.strip("'\"")
        yield re.sub(r"\\(.)", r"\1", value.strip("'\""))
    if _START.match(text) is None:
        if (match := _WITHOUT_SLASHES.match(text)) is not None:
            yield match[2]
            yield match[2].rpartition("@")[0].rpartition(":")[2]
        return
    start, credentials, location = _split(text)
    user, _, password = credentials.partition(":")
    secrets = [password] if _names_a_user(text, credentials) else [user, password]
    secrets += [value for name, value in _options(location)[1] if not _is_harmless(name, value)]
    secrets += [word] if (word := _no_database(start, location)) else []
    for secret in filter(None, secrets):
        yield secret
        yield unquote(secret)


def _shown_url(url: str) -> str:
    start, credentials, location = _split(url)
    plain, options = _options(location)
    kept = urlencode([(name, value) for name, value in options if _is_harmless(name, value)])
    user, colon, _ = credentials.partition(":") if _names_a_user(url, credentials) else ("", "", "")
    user = f"{user}:***" if user and colon else user
    if word := _no_database(start, location):
        plain = f"{plain.removesuffix(word)}***"
    result = _PAIR.sub(r"\1***", f"{start}{user}{'@' if user else ''}{plain}{'?' if kept else ''}{kept}")
    return url if result == url else _shown_url(result)  # what is left may be read otherwise


def _is_readable(url: str) -> bool:
    """Whether a URL is one by the rules, so that what stands before the host is a user."""
    try:
        urlsplit(url).port  # noqa: B018 - refuses what is none
    except ValueError:
        return False
    return True


def _names_a_user(url: str, credentials: str) -> bool:
    """Whether what stands first in the credentials is a user and no secret.

    Where nobody can tell, it may be a password. A word alone is a token in most systems, and a password that lost its colon in an
    address of Redis; Postgres and ssh have users without one.
    """
    return _is_readable(url) and (":" in credentials or url.lower().startswith(_LONE_USERS))


def _is_harmless(name: str, value: str) -> bool:
    return name in _HARMLESS and re.fullmatch(_HARMLESS[name], value) is not None


def _no_database(start: str, location: str) -> str:
    """What stands in an address of Redis in place of the database's number and is none, such as a password; else empty."""
    if not start.startswith(_REDIS):
        return ""
    path = _options(location)[0].partition("/")[2]
    return "" if path.rstrip("/").isdecimal() or path == "***" else path


def _split(url: str) -> tuple[str, str, str]:
    """What stands before the credentials, ``user:password``, and after them.

    A password with a ``/``, ``?`` or ``#`` that is not written ``%2F`` ends the host for whoever reads a URL by the rules. Here it is
    still taken for a password, and so is what stands in place of a port and is no number.
    """
    start = _START.match(url)
    assert start is not None
    after = url[start.end() :]
    host = re.split(r"[/?#]", after, maxsplit=1)[0]
    within = re.split(r"\?(?=[^?@]*=)", after, maxsplit=1)[0]  # without the options
    if start[0].startswith("http") and "@" not in within.partition("?")[2]:
        within = host if "@" in host else "" if host.rpartition(":")[2].isdecimal() else within  # a path may have an @
    if "@" in host:
        credentials = within.rpartition("@")[0]
        return start[0], credentials, after[len(credentials) + 1 :]
    name, colon, port = host.rpartition(":")
    ends_early = after[len(host) : len(host) + 1] in ("?", "#")
    if not colon and "@" in within and (ends_early or start[0].startswith(_REDIS)):
        credentials = within.rpartition("@")[0]
        return start[0], credentials, after[len(credentials) + 1 :]
    if not colon or "]" in port or (port.isdecimal() and "@" not in within):
        return start[0], "", after
    if "@" in within:
        credentials = within.rpartition("@")[0]
        if "=" in credentials.partition("#")[2]:  # what stands after the @ may be a password's end, and no host
            return start[0], f":{after[len(name) + 1 :]}", name
        return start[0], credentials, after[len(credentials) + 1 :]
    if ends_early and not port.isdecimal():
        return start[0], f":{within[len(name) + 1 :]}", name + after[len(within) :]
    return start[0], f":{port}", name + after[len(host) :]


def _options(location: str) -> tuple[str, list[tuple[str, str]]]:
    """What stands before the options of a URL, and these; a ``?`` without ``=`` after it is a wildcard of a pattern."""
    plain, sign, query = location.partition("?")
    if not sign or "=" not in query:
        return location, []
    return plain, parse_qsl(query.partition("#")[0])
