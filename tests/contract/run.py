"""A run over many cases: as many at once as keep the machine busy, and no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from contract.heard import Heard
from contract.lab import Lab, namespace
from contract.report import Tally, verdict_on
from contract.resolvers import VALIDATORS, Validator

AT_ONCE: Final = 24
"""Cases in flight. Most wait for a validator that tries a server once more."""


AGAIN: Final = 4
"""The same of those that differ without being meant to: on a busy machine a validator may have
given up too soon, so each is tried once more, in zones of another name."""


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
    done = 0
    odd: list[int] = []
    with namespace() as (sandbox, factory):
        lab = Lab(sandbox, factory, validators)
        try:
            await lab.start()

            async def work(left: Iterator[int], *, again: bool) -> None:
                nonlocal done, told
                for number in left:
                    heard = await lab.hear(seed, number, again=again)
                    if not again and verdict_on(heard) is None:
                        odd.append(number)
                        continue
                    tally.add(heard)
                    each(heard, lab)
                    done += 1
                    if time.monotonic() - told > 10:
                        told = time.monotonic()
                        progress(done, tally)

            for wanted, again, at_once in ((numbers, False, AT_ONCE), (odd, True, AGAIN)):
                left = iter(wanted)
                async with asyncio.TaskGroup() as group:
                    for _ in range(at_once):
                        group.create_task(work(left, again=again))
        finally:
            await lab.stop()
    return tally
