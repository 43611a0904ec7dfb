"""Removes EDNS options, which may identify clients, from a sampled message.

Upstreams echo the client's network that a resolver sent (ECS, RFC 7871 7.2.1), and undocumented
options exist. Verification needs none of them. So each option becomes padding in place: nothing
else moves, and compression pointers stay valid.

A message that can't be parsed to its end might hold an option in an unexpected place. It is not
handed over: the verification could not parse it either.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from steering.observe.dnstap.counter import MalformedError, skip

_COUNTS = struct.Struct("!4H")
_FIXED = struct.Struct("!HHIH")  # type, class, TTL, RDLENGTH (RFC 1035 3.2.1)
_OPTION = struct.Struct("!HH")
_OPT = 41
_PADDING = 12  # RFC 7830 3


def redacted(message: bytes) -> bytes | None:
    """The message with every EDNS option turned to padding; None if it can't be parsed."""
    try:
        places = list(_options(message))
    except (IndexError, struct.error, MalformedError):
        return None
    if not places:
        return message
    out = bytearray(message)
    for start, end in places:
        length = end - start - _OPTION.size
        out[start:end] = _OPTION.pack(_PADDING, length) + bytes(length)
    return bytes(out)


def _options(message: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of all options, in any section. Raises as `skip`, and struct.error."""
    size = len(message)
    questions, *others = _COUNTS.unpack_from(message, 4)
    at = 12
    for _ in range(questions):
        at = skip(message, at, size) + 4
    for _ in range(sum(others)):
        fixed = skip(message, at, size)
        kind, _, _, length = _FIXED.unpack_from(message, fixed)
        start = fixed + _FIXED.size
        at = start + length
        if kind == _OPT and length:
            if length < _OPTION.size:
                raise MalformedError
            yield start, at
    if at != size:
        raise MalformedError
