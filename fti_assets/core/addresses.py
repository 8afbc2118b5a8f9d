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

_SECRET_NAME = (
    r"((?:(?:password|passwd|passphrase|pwd|secret|token|signature|credential|access_key|api[_-]?key)[\w-]{0,40}"
    r"|scram_\w{1,40}_key)\s*=\s*)"
)
_QUOTATION = r"""'(?:[^'\\]|\\.)*(?:'|$)|"(?:[^"\\]|\\.)*(?:"|$)"""
_PAIR = re.compile(rf"(?si){_SECRET_NAME}({_QUOTATION}|(?:\\.|[^\s&'\",;\\])+)")
"""A secret in a text, where what comes after it may be the text's."""
_WHOLE_PAIR = re.compile(rf"(?si){_SECRET_NAME}((?:{_QUOTATION})\S*|(?:\\.|\S)+)")
"""A secret in an address of pairs, which ends at a space that is not escaped."""
_PAIRS = re.compile(rf"\s*(?:(\w+)\s*=\s*({_QUOTATION}|(?:\\.|[^\s'\"\\])+)(\s+|$))", re.DOTALL)
_SHOWN_PAIRS = ("host", "hostaddr", "port", "dbname", "user", *_HARMLESS)
_MASK = "***"
_SHORTEST = 3
"""A secret of fewer letters is not looked for in a text: too much of it would go."""

_START = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,2}")
# Names are of a bounded length wherever one is searched for, or a long text takes time by the square of its length.
_URL = re.compile(r"[^\s'\":/]{0,40}:/{1,2}[^\s'\"]*")
_HOST = r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]*)(?::\d{1,5})?"
_READABLE = re.compile(
    rf"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<slashes>/{{1,2}})(?:(?P<user>[^\s:/?#@]*)(?P<password>:[^\s/?#@]*)?@)?"
    rf"(?P<host>{_HOST}(?:,{_HOST})*)(?P<path>/[^?#]*)?(?P<rest>[?#].*)?",
    re.DOTALL,
)
_SEGMENT = r"@?[\w.*{}\[\]%+~, -]*(?:=(?:(?:[\d.*?:T_-]|%[0-9A-F]{2})+|[A-Za-z]{1,16})|_partition=[\w.%~-]+)?"
"""A folder in a path, that of a partition too; what comes after ``=`` is shown where it is a number, a date or a word."""
_PATHS = {
    **dict.fromkeys(("redis", "rediss"), re.compile(r"(?:/\d*/?)?")),
    **dict.fromkeys(("nats", "tls", "kafka", "sc"), re.compile(r"/?")),
    **dict.fromkeys(("postgres", "postgresql", "mysql"), re.compile(r"(?:/[\w.-]*)?")),
    **dict.fromkeys(
        ("http", "https", "s3", "s3a", "s3n", "gs", "gcs", "r2", "az", "azure", "abfs", "abfss", "hdfs", "hf", "file", "ftp", "ssh", "sftp",
         "unix", "grpc", "sqlite", "duckdb", "mongodb", "memcached"),
        re.compile(rf"(?:/{_SEGMENT})*?(?:/@?[\w.*{{}}\[\]%+~, -]*)?"),
    ),
}  # fmt: skip
"""By scheme, the paths that are shown; an address of another scheme is not."""
_QUERY = re.compile(r"\?[\w.-]+=[^&=#]*(?:&[\w.-]+=[^&=#]*)*")
_PATTERN = re.compile(r"\?[\w.*?-]*(?:\*[\w.*?-]*|\.(?:parquet|csv|json))")
"""A ``?`` that stands for a letter in a pattern of files."""
_WORD = re.compile(r"[^:/@?#&=;,\s'\"\\]{4,}")
"""What another library may repeat of an address that it cannot read."""
_AFTER = re.compile(r"[.,:;)\]>]*$")
_TYPO = re.compile(r"//|:.*@|@.*:|^[A-Za-z][\w+.-]+:[^\\]")


def is_address(location: object) -> bool:
    """Whether a location is an address of something, and no folder.

    >>> is_address("redis://host/0"), is_address("s3:/bucket"), is_address("stores/online")
    (True, True, False)
    """
    return isinstance(location, str | os.PathLike) and _START.match(str(location)) is not None


def show_address(address: object) -> str:
    """An address without its secrets: a URL, or ``name=value`` pairs. A folder is shown as it is.

    Only what is surely none is shown: an address that is not written by the rules is not.

    >>> show_address("redis://ann:pw@host:6379/0?prefix=shop&password=pw")
    'redis://ann:***@host:6379/0?prefix=shop'
    >>> show_address("host=db user=ann password='p w'")
    'host=db user=ann password=***'
    >>> show_address("redis://host:12?pw/0")
    'redis://***'
    """
    text = str(address).lstrip()
    if _MASK in text and text in (_MASK, _hide_address(text)):
        return text
    if _START.match(text) is not None:
        return _show_url(text)
    if _is_folder(text):
        return str(address)
    pairs = _hide_in_pairs(text)
    return _hide_address(text) if pairs is None else pairs


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """A text, such as another library's error, without some secrets, and without those of the URLs and ``name=value`` pairs in it.

    >>> scrub("cannot reach 'https://ann:pw@host/x?sig=abc'")
    "cannot reach 'https://ann:***@host/x'"
    """
    # A host is written in small letters by those that read it.
    for secret in sorted({one for one in secrets if len(one) >= _SHORTEST}, key=len, reverse=True):
        text = re.sub(re.escape(secret), _MASK, text, flags=re.IGNORECASE)
    return _PAIR.sub(r"\1***", _URL.sub(_hide_in_match, text))


def secrets_of(address: object) -> Iterator[str]:
    """The secrets of an address, as they are written and as they are meant."""
    text = str(address).lstrip()
    rest = show_address(address)
    if rest in (text, str(address)):
        return
    for _, value in [*_WHOLE_PAIR.findall(text), *_PAIR.findall(text)]:
        yield value
        yield value.strip("'\"")
        yield re.sub(r"\\(.)", r"\1", value.strip("'\""))
    match = _READABLE.fullmatch(text)
    values = (
        [text.partition("://")[2]]
        if match is None or rest == _hide_address(text)
        else [match["user"] or "", (match["password"] or "")[1:]]
    )
    words = set(_WORD.findall(text)) - set(_WORD.findall(rest))
    values += [
        word for word in words if not re.fullmatch(r"(?i)[\w-]*(?:password|secret|token|signature|key|ssl[\w-]*)", word)
    ]
    for secret in filter(None, values):
        if secret not in rest:
            yield secret
            yield unquote(secret)


def _is_folder(text: str) -> bool:
    if _TYPO.search(text) or _WHOLE_PAIR.search(text):
        return False
    return text.startswith(("/", ".", "~")) or not re.search(r"[=@?&#]", text)


def _hide_address(text: str) -> str:
    """What is left of an address that cannot be read: its scheme, if that is one."""
    scheme = text.partition(":")[0]
    if scheme.lower() not in _PATHS:
        return _MASK
    slashes = re.match(r":(/{0,2})", text[len(scheme) :])
    return f"{scheme}:{slashes[1] if slashes else ''}{_MASK}"


def _hide_in_pairs(text: str) -> str | None:
    """Pairs without the values that may be secret; None if they are none."""
    result, at = "", 0
    while at < len(text):
        match = _PAIRS.match(text, at)
        if match is None:
            return None
        value = match[2]
        is_kept = match[1] in _SHOWN_PAIRS and re.fullmatch(_HARMLESS.get(match[1], r"[\w./,:-]+"), value) is not None
        result += match[0] if is_kept else f"{match[0][: match.start(2) - at]}{_MASK}{match[3]}"
        at = match.end()
    return result


def _hide_in_match(match: re.Match[str]) -> str:
    """A URL in a text, with what the text writes after it."""
    url = match[0]
    after = _AFTER.search(url)
    end = after.start() if after is not None else len(url)
    start = _START.search(url)
    if start is None or ("://" not in url and "@" not in url and url.partition(":")[0].lower() not in _PATHS):
        return show_address(url) if "://" in url or "@" in url else url
    before = url[: start.start()] if not re.search(r"\w", url[: start.start()]) else ""
    return f"{before}{show_address(url[len(before) : end])}{url[end:]}" if url[len(before) : end].strip(":/") else url


def _show_url(url: str) -> str:
    match = _READABLE.fullmatch(url)
    if match is None or not _is_readable(match):
        return _hide_address(url)
    scheme, path, rest = match["scheme"].lower(), match["path"] or "", match["rest"] or ""
    if scheme == "unix" and match["host"]:  # a socket has none
        return _hide_address(url)
    if scheme not in _PATHS or not _PATHS[scheme].fullmatch(path):
        return _hide_address(url)
    if match["password"] is None and match["user"] is None and match["host"].startswith(":"):
        return _hide_address(url)
    query, sign, _ = rest.partition("#")
    is_pattern = (
        bool(query) and not sign and scheme not in ("redis", "rediss") and _PATTERN.fullmatch(query) is not None
    )
    if query and not is_pattern and _QUERY.fullmatch(query) is None:
        return _hide_address(url)
    options = [] if is_pattern else parse_qsl(query[1:])
    harmless = urlencode([(name, value) for name, value in options if _is_harmless(name, value)])
    # A word alone before the host is a token in most systems, or a password that has lost its colon.
    user = f"{match['user']}:{_MASK}@" if match["user"] and match["password"] is not None else ""
    plain = f"{match['scheme']}:{match['slashes']}{user}{match['host']}{path}"
    return f"{plain}{query if is_pattern else ''}{'?' if harmless else ''}{harmless}"


def _is_readable(match: re.Match[str]) -> bool:
    """Whether a URL is one by the rules, so that what stands before the host is a user; each of several hosts makes it one."""
    url, (start, end) = match[0], match.span("host")
    try:
        for host in match["host"].split(","):
            urlsplit(f"{url[:start]}{host}{url[end:]}").port  # noqa: B018 - refuses what is none
    except ValueError:
        return False
    return True


def _is_harmless(name: str, value: str) -> bool:
    return name in _HARMLESS and re.fullmatch(_HARMLESS[name], value) is not None
