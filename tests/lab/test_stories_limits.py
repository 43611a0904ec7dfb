"""Nameservers that answer no more than so often a second: what our haste loses moves nobody."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from stage import QUICK, Stage, on_stage

from steering.lab.servers.authority import Nsd
from steering.model import LOCAL

pytestmark = pytest.mark.lab

LIMIT = 2
"""Answers a second of one kind to one source, by NSD's own response rate limiting."""
SHOWN = replace(QUICK, interval="2s", fast_interval="100ms")


def lost(stage: Stage, path: str) -> int:
    return sum(a["paths"][path]["outcomes"].get("timeout", 0) for a in stage.status()["addresses"])


def limit(stage: Stage, path: str) -> None:
    """A real NSD limits by itself from now on; it starts anew for it, and is silent meanwhile."""
    nameserver = stage.scene.authorities[path]
    if not isinstance(nameserver, Nsd):
        pytest.skip("only NSD has such a limit here")
    nameserver.limit = LIMIT
    nameserver.serve(stage.scene.zones())


def test_a_server_with_a_limit_is_not_left_for_what_our_haste_loses() -> None:
    with on_stage(SHOWN, load=0.5, sites=("pao",)) as stage:
        limit(stage, LOCAL)
        nameserver, zones = stage.scene.authorities[LOCAL], stage.scene.zones()
        before = lost(stage, LOCAL)
        for _ in range(2):
            # News of a failure is looked into fast: faster than this server answers.
            nameserver.answer_rcode("SERVFAIL")
            time.sleep(1.5)
            nameserver.serve(zones)
            stage.asked_more(20, meanwhile=lambda: not stage.scene.routes())
        assert lost(stage, LOCAL) > before + 10, "nothing was limited: it shows nothing"
        stage.steady({})
        stage.await_health("healthy")
        assert stage.about("steered") == set()
