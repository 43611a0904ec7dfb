"""What a fuzzer needs of a parser: messages for it, and to have them taken in."""

from __future__ import annotations

import abc
import contextlib
import random
from collections.abc import Sequence
from typing import Self

from fuzz.octets import TELLING


class Wrong(AssertionError):  # noqa: N818 - it is what is found, and names what is not so
    """Something came out of a parser that must not."""


class Driver(abc.ABC):
    """One parser as the program uses it. It keeps its state from message to message."""

    drops = False
    """Whether it is right that some messages are dropped as unreadable (`system/unreadable`)."""
    splinters: Sequence[bytes] = TELLING
    """Pieces of its format that say something wherever they stand."""

    def __init__(self) -> None:
        self.closing = contextlib.ExitStack()
        """What was made or replaced for it."""

    @abc.abstractmethod
    def seeds(self) -> Sequence[bytes]:
        """Messages, good and hostile, to begin with."""

    @abc.abstractmethod
    def message(self, draw: random.Random) -> bytes:
        """One hostile message, the same for the same state of `draw`."""

    @abc.abstractmethod
    def take(self, message: bytes) -> None:
        """Take a message in as the program does. What is raised is a finding."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()
