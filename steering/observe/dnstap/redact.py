"""A message for a second look, without what its options tell of clients.

Upstreams echo the client's network that a resolver sent them (ECS, RFC 7871 7.2.1), and there
are options that nobody wrote down. A second look needs none of them, so all become padding,
in place: nothing else moves, and a pointer to anything but an option leads where it led.

A message that can't be read to its very end might hold an option where none is looked for. It
is not handed over: no second look could read it either.
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
    """The message with every EDNS option made padding; None if it can't be read to its end."""
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
    """Where options stand, in whatever section. Raises as `skip`, and struct.error."""
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
