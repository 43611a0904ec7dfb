"""Worlds for the lab tests: built on demand, gone at the end, skipped with a reason."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from steering.lab.world import World

WorldFactory = Callable[..., World]


@pytest.fixture(scope="session")
def possible() -> None:
    """Skip where no namespaces can be made, saying why."""
    if lacks := World.missing():
        pytest.skip("; ".join(lacks))


@pytest.fixture
def make_world(possible: None) -> Iterator[WorldFactory]:
    """Builds worlds with the arguments of ``World``; all end with the test."""
    with contextlib.ExitStack() as stack:

        def make(**arguments: Any) -> World:  # noqa: ANN401 - those of World, as they are
            return stack.enter_context(World(**arguments))

        yield make
