"""Resolvers that send dnstap to the agent, configured as their pages in the docs say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from stage import Stage

from steering.lab.scene import Scene
from steering.lab.servers.resolver import Resolving, Unbound
from steering.model import LOCAL

PAGES = Path(__file__).resolve().parents[2] / "docs" / "resolvers"
SOCKET = "/run/steering/dnstap.sock"


def documented(page: str, scene: Scene) -> str:
    """The first block of a page, with the socket of this scene."""
    block = re.search(r"```\w+\n(.*?)```", (PAGES / f"{page}.md").read_text(), re.DOTALL)
    assert block is not None
    assert SOCKET in block[1]
    return block[1].replace(SOCKET, str(scene.tap))


def tapped(kind: type[Resolving], page: str) -> Callable[[Scene], Resolving]:
    return lambda scene: kind(scene.world, keys=scene.anchors, dnstap=documented(page, scene))


UNBOUND = tapped(Unbound, "unbound")


def heard(stage: Stage, path: str = LOCAL) -> int:
    return sum(
        a["paths"][path].get("heard", {"samples": 0})["samples"]
        for a in stage.status()["addresses"]
    )


def await_traffic(stage: Stage, path: str = LOCAL, number: int = 50) -> None:
    before = heard(stage, path)
    stage.until(
        lambda: heard(stage, path) > before + number, 30, every=0.1, tell=lambda: heard(stage, path)
    )
