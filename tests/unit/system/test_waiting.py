"""Tests wait by one poller: what it says when it has waited in vain."""

from __future__ import annotations

import asyncio

import pytest

from steering.lab.waiting import async_until, until


def test_it_looks_until_it_is_so_and_does_the_rest_meanwhile() -> None:
    seen: list[int] = []
    assert until(lambda: len(seen) > 2, meanwhile=lambda: seen.append(1), every=0.0) < 20.0
    assert until(lambda: len(seen), wanted=3, every=0.0) < 20.0
    assert asyncio.run(async_until(lambda: seen)) < 5.0


def test_in_vain_it_says_what_was_waited_for_and_what_was_seen_last() -> None:
    seen: list[int] = []

    def look() -> list[int]:
        seen.append(len(seen))
        return seen[-1:]

    with pytest.raises(AssertionError) as error:
        until(look, 0.0, wanted=[7], tell="more")
    assert str(error.value).startswith("not within 0 s: test_in_vain_")
    assert str(error.value).endswith("look; it was [0]; wanted [7]; more")
    with pytest.raises(AssertionError, match=r"seen == \[9\], 0.0\).*; it was False$"):
        asyncio.run(async_until(lambda: seen == [9], 0.0))
