"""Datagrams that the kernel drops by chance: what one path alone loses, and what all paths lose."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stage import QUICK, Stage, on_stage

from steering.lab.network.sandbox import find
from steering.lab.network.topology import EDGE
from steering.model import LOCAL

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(find("nft") is None, reason="the program nft (nftables) is not installed"),
]

LEISURELY = replace(QUICK, interval="1s", hold="1h")
"""Losses are compared where the nameserver is asked no more than once a second."""
LOST = 20
"""Of a hundred answers: no run of silences shows that, only a comparison of the paths."""


def lose(stage: Stage, *paths: str) -> None:
    """From now on these paths' routers drop so many of the packets to this host, by chance."""
    for path in paths:
        stage.scene.world.run(
            stage.scene.world.paths[path].router,
            ["nft", "-f", "-"],
            stdin="table inet lab { chain lose { type filter hook forward priority 0; "
            f'oifname "{EDGE}" numgen random mod 100 < {LOST} counter drop; }}; }}\n',
        )


def heal(stage: Stage, *paths: str) -> None:
    """The end of `lose`."""
    for path in paths:
        router = stage.scene.world.paths[path].router
        stage.scene.world.run(router, ["nft", "delete", "table", "inet", "lab"])


def silent(stage: Stage, path: str) -> int:
    """How many questions over a path have had no answer so far."""
    return sum(a["paths"][path]["outcomes"].get("timeout", 0) for a in stage.status()["addresses"])


@pytest.mark.timeout(900)
def test_what_all_paths_lose_moves_nothing_and_what_the_local_one_loses_alone_does() -> None:
    with on_stage(LEISURELY, sites=("pao",)) as stage:
        lose(stage, LOCAL, "pao")
        stage.asked_more(80, meanwhile=lambda: not stage.scene.routes())
        for path in (LOCAL, "pao"):
            assert silent(stage, path) > 12, "nothing was lost: it shows nothing"
        assert stage.about("steered") == set(), stage.story()

        heal(stage, "pao")
        stage.until(lambda: set(stage.scene.routes()), 600, wanted=set(stage.addresses))
        stage.await_proof()
        stage.clients_fine()
