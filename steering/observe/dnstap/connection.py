"""One resolver's connection: its socket, the state of its stream, and the bytes read ahead."""

from __future__ import annotations

import socket
from collections import deque

from steering.observe.dnstap.framestream import FrameStream

PIECE = 1 << 16
"""Bytes read and counted at once: about a millisecond of counting in plain Python."""


class WriterConnection:
    """One connection, and the bytes that were read but not counted yet."""

    def __init__(self, made: socket.socket, name: str, stream: FrameStream) -> None:
        self.socket = made
        self.name = name
        self.stream = stream
        self.closed = False
        """The writer has closed the connection."""
        self.size = 0
        """Bytes that are held."""
        self._pieces: deque[bytes] = deque()

    def hold(self, data: bytes) -> None:
        """Hold received bytes. Small pieces are joined, since each piece has a fixed cost."""
        if self._pieces and len(self._pieces[-1]) + len(data) <= PIECE:
            self._pieces[-1] += data
        else:
            self._pieces.append(data)
        self.size += len(data)

    def next(self) -> bytes:
        """Remove and return the oldest piece."""
        piece = self._pieces.popleft()
        self.size -= len(piece)
        return piece

    def clear(self) -> None:
        """Drop all held bytes."""
        self._pieces.clear()
        self.size = 0
