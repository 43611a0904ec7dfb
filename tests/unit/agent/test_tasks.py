"""Parallel tasks: one can be replaced by another, and the first that fails ends them all."""

from __future__ import annotations

import asyncio
import os

import pytest

from steering.agent.tasks import Tasks


def test_a_bug_in_one_ends_all_and_is_raised() -> None:
    ended: list[str] = []

    async def steady() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("steady")

    async def faulty() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def story() -> None:
        tasks = Tasks()
        tasks.start("one", steady())
        tasks.start("other", faulty())
        await tasks.run()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(story())
    assert ended == ["steady"]


def test_a_replaced_task_ends_no_other() -> None:
    seen: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(name)

    async def story() -> None:
        tasks, stop = Tasks(), asyncio.Event()
        tasks.start("probes", work("first"))
        tasks.start("stop", stop.wait())
        await asyncio.sleep(0)
        tasks.start("probes", work("second"))
        tasks.start("look", work("third"))
        await asyncio.sleep(0)
        tasks.stop("look")
        tasks.stop("never there")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert seen == ["first", "third"]
        stop.set()
        await tasks.run()

    asyncio.run(story())
    assert seen == ["first", "third", "second"]


def test_a_bug_in_a_replaced_task_ends_all() -> None:
    async def spiteful() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    async def story() -> None:
        tasks = Tasks()
        tasks.start("one", spiteful())
        await asyncio.sleep(0)
        tasks.stop("one")
        await tasks.run()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(story())


def test_descriptors_wake_until_they_are_watched_no_more() -> None:
    heard: list[bytes] = []

    async def story() -> None:
        out, into = os.pipe()
        tasks, woken = Tasks(), asyncio.Event()

        def hear() -> None:
            heard.append(os.read(out, 10))
            woken.set()

        tasks.on_readable(out, hear)
        os.write(into, b"a")
        await woken.wait()
        tasks.stop_reading()
        tasks.stop_reading()
        os.write(into, b"b")
        for _ in range(10):
            await asyncio.sleep(0)
        os.close(out)
        os.close(into)

    asyncio.run(story())
    assert heard == [b"a"]
