"""Parses the head of a request. Pure: bytes in, a value out.

It uses no library: there is no body to read and no method that changes anything, so HTTP/1.1
(RFC 9112) comes down to a line and two headers. h11 would double this small process, and
`http.server` blocks a thread while it reads.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

SERVER: Final = "steering"
"""The server name in the agent's answers (RFC 9110 10.2.4); the client checks it."""
MOST: Final = 1 << 14
"""Bytes of a head, its first line included. Browsers and Prometheus send less than 2 kB."""
MOST_HEADERS: Final = 100
_END: Final = re.compile(rb"\n\r?\n")
"""A bare LF may end a line (RFC 9112 2.2)."""
_SPACES: Final = b"\r\n"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a browser may load for our pages: nothing of others, and no script inside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A valid request."""

    path: str
    query: str = ""
    accept: str = ""
    host: str = ""
    gzip: bool = False
    """Whether the client takes compressed answers."""
    body: bool = True
    """Whether the answer is sent with its body: HEAD has none."""
    keep: bool = True
    """Whether the connection stays open for another request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRequest:
    """An invalid or unsupported request. Bytes after it may be its body."""

    code: HTTPStatus
    text: str
    body: bool = True


def split(data: bytes | bytearray, begin: int = 0) -> int | None:
    """Where the first head ends; None: it is incomplete. `begin`: bytes searched before."""
    found = _END.search(data, max(0, begin - 3))
    return found.end() if found else None


def parse(head: bytes) -> Request | BadRequest:
    """The head of a request, to its empty line."""
    lines = head.lstrip(_SPACES).rstrip(_SPACES).decode("latin-1").split("\n")
    words = lines[0].split()
    if len(words) != 3:
        return _refused(HTTPStatus.BAD_REQUEST, "not a request line")
    method, target, version = words
    if not re.fullmatch(r"HTTP/\d\.\d", version):
        return _refused(HTTPStatus.BAD_REQUEST, "not a version of HTTP")
    if version[5] != "1":
        return _refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "wanted HTTP/1.1")
    if method not in ("GET", "HEAD"):
        return _refused(
            HTTPStatus.METHOD_NOT_ALLOWED, "wanted GET or HEAD: HTTP changes nothing here"
        )
    if len(lines) - 1 > MOST_HEADERS:
        return _refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "Too many headers")
    try:
        url = urllib.parse.urlsplit(target)
    except ValueError:  # a bracket without its other half, a host that is no address
        return _refused(HTTPStatus.BAD_REQUEST, "not a request target")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return _refused(HTTPStatus.BAD_REQUEST, "not a header")
        headers[name.lower()] = value.strip()
    wants = headers.get("connection", "").lower()
    # The body of a GET has no meaning (RFC 9110 9.3.1) and is not read: nothing comes after it.
    bodied = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    keep = "keep-alive" in wants if version == "HTTP/1.0" else "close" not in wants
    return Request(
        path=url.path,
        query=url.query,
        accept=headers.get("accept", ""),
        host=headers.get("host", ""),
        gzip=_takes_gzip(headers.get("accept-encoding", "")),
        body=method != "HEAD",
        keep=keep and not bodied,
    )


def _takes_gzip(accepted: str) -> bool:
    for one in accepted.lower().split(","):
        coding, _, weight = one.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0")
    return False


def head(
    code: HTTPStatus, kind: str, length: int | None, *, keep: bool, gzip: bool = False
) -> bytes:
    """The head of an answer; without a length it goes on until the connection ends."""
    lines = [
        f"HTTP/1.1 {code.value} {code.phrase}",
        f"Server: {SERVER}",
        f"Content-Type: {kind}",
        *([] if length is None else [f"Content-Length: {length}"]),
        *(["Content-Encoding: gzip"] if gzip else []),
        "Vary: Accept-Encoding",
        "Cache-Control: no-store",
        f"Content-Security-Policy: {_POLICY}",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Resource-Policy: same-origin",
    ]
    if code is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    if not keep:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _refused(code: HTTPStatus, text: str) -> BadRequest:
    return BadRequest(code=code, text=text)
