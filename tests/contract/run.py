"""A run over many cases: as many at once as keep the machine busy, and no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from contract.heard import Heard
from contract.lab import Lab, namespace
from contract.report import Tally
from contract.resolvers import VALIDATORS, Validator

AT_ONCE: Final = 24
"""Cases in flight. Most wait for a validator that tries a server once more."""


def run(
    numbers: Iterable[int],
    seed: int,
    *,
    validators: Sequence[Validator] = VALIDATORS,
    progress: Callable[[int, Tally], object] = lambda _done, _tally: None,
    each: Callable[[Heard, Lab], object] = lambda _heard, _lab: None,
) -> Tally:
    """All these cases, heard and counted. Raises LabError where the lab can't be had."""
    return asyncio.run(_run(list(numbers), seed, validators, progress, each))


async def _run(
    numbers: Sequence[int],
    seed: int,
    validators: Sequence[Validator],
    progress: Callable[[int, Tally], object],
    each: Callable[[Heard, Lab], object],
) -> Tally:
    tally, told = Tally(), time.monotonic()
    left = iter(numbers)
    done = 0
    with namespace() as (sandbox, factory):
        lab = Lab(sandbox, factory, validators)
        try:
            await lab.start()

            async def work() -> None:
                nonlocal done, told
                for number in left:
                    heard = await lab.hear(seed, number)
                    tally.add(heard)
                    each(heard, lab)
                    done += 1
                    if time.monotonic() - told > 10:
                        told = time.monotonic()
                        progress(done, tally)

            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work())
        finally:
            await lab.stop()
    return tally
