"""One connection of a resolver: its socket, how far its stream got, and what is read ahead."""

from __future__ import annotations

import socket
from collections import deque

from steering.observe.dnstap.framestream import FrameStream

PIECE = 1 << 16
"""Bytes read and counted at once: about a millisecond of counting in plain Python."""


class WriterConnection:
    """One connection, and what was read of it ahead of the counting."""

    def __init__(self, made: socket.socket, name: str, stream: FrameStream) -> None:
        self.socket = made
        self.name = name
        self.stream = stream
        self.gone = False
        """Nothing more will come."""
        self.size = 0
        """Bytes that are held."""
        self._pieces: deque[bytes] = deque()

    def hold(self, data: bytes) -> None:
        """Hold what came, little ones together: each piece has its price."""
        if self._pieces and len(self._pieces[-1]) + len(data) <= PIECE:
            self._pieces[-1] += data
        else:
            self._pieces.append(data)
        self.size += len(data)

    def next(self) -> bytes:
        """The oldest piece, held no more."""
        piece = self._pieces.popleft()
        self.size -= len(piece)
        return piece

    def forget(self) -> None:
        """Hold nothing."""
        self._pieces.clear()
        self.size = 0
