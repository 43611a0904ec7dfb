"""What one path is asked by TCP until full segments were seen to come, or not to."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import pytest

from steering.act.kernel.netlink import QuerySocket
from steering.observe import exchange
from steering.observe.exchange import Ended, Exchange, Sending
from steering.sitecheck.asking import TRIES, _Asker

FIRST = Exchange(ended=Ended.ANSWERED, octets=80, packet=80, connected=True)
SMALL = Exchange(ended=Ended.ANSWERED, octets=2400, packet=767, connected=True)
WHOLE = Exchange(ended=Ended.ANSWERED, octets=2400, packet=1448, connected=True)
SILENT = Exchange(ended=Ended.SILENT, octets=0, connected=True)


@pytest.mark.parametrize(
    ("streams", "found", "times"),
    [
        pytest.param([WHOLE, SILENT], WHOLE, 1, id="full at once"),
        pytest.param([SMALL, WHOLE], WHOLE, 2, id="full the second time"),
        pytest.param([SMALL, SILENT], SILENT, 2, id="full ones are lost"),
        pytest.param([SMALL, SMALL, SMALL, SILENT], SMALL, 1 + TRIES, id="never full"),
        pytest.param([SILENT, WHOLE], SILENT, 1, id="lost at once"),
        pytest.param([None, WHOLE], None, 1, id="no first answer"),
        pytest.param([SMALL, None, WHOLE], WHOLE, 3, id="no first answer the second time"),
        pytest.param(
            [Exchange(ended=Ended.ANSWERED, octets=700, packet=700), WHOLE],
            Exchange(ended=Ended.ANSWERED, octets=700, packet=700),
            1,
            id="nothing that could fill one",
        ),
    ],
)
def test_it_asks_again_where_no_segment_was_filled(
    monkeypatch: pytest.MonkeyPatch,
    streams: list[Exchange | None],
    found: Exchange | None,
    times: int,
) -> None:
    asked = iter(streams)
    count = 0

    async def by_tcp(*_: Any, **__: Any) -> tuple[Exchange, Exchange | None]:  # noqa: ANN401
        nonlocal count
        count += 1
        return FIRST, next(asked)

    monkeypatch.setattr(exchange, "by_tcp", by_tcp)
    asker = _Asker(cast("QuerySocket", None), None, {}, 1.0, random.Random(1))
    sending = Sending(address="192.0.2.1")
    assert asyncio.run(asker._by_tcp(sending, b"", {"keys": b""})) == (FIRST, found)
    assert count == times
