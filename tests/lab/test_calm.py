"""Nothing moves while every resolver asks every server for what is hard to answer.

The short form of `make bench BENCH=calm`: until each server was asked often enough by probes over
both paths and by resolvers. Then the local signatures run out, and everything moves.
"""

from __future__ import annotations

import pytest

from benchmarks.calm import Figures, figures, lay, shown
from steering.lab.servers.mixture import Mixture
from steering.lab.servers.varied import RESOLVERS, SERVERS, SITE, Varied, lacks
from steering.lab.waiting import until
from steering.model import LOCAL

pytestmark = pytest.mark.lab

# What each server has to be seen by: (path, source) -> answers.
_ENOUGH = {(LOCAL, "probe"): 24, (SITE, "probe"): 24, (LOCAL, "dnstap"): 60}
_ANSWERS = 200
"""That clients have from each resolver."""


def seen(told: Figures, server: str, path: str, source: str) -> int:
    return sum(n for key, n in told.answers.items() if key[:3] == (server, path, source))


def test_no_answer_of_any_server_to_any_resolver_moves_anything() -> None:
    if said := lacks():
        pytest.skip("; ".join(said))
    with Varied(probe="interval: 1s, fast_interval: 200ms, timeout: 1s") as lab:
        before = lay(lab)
        told = before
        with Mixture(world=lab.world, resolvers=RESOLVERS, rate=20.0) as clients:

            def enough() -> bool:
                nonlocal told
                told = figures(lab).since(before)
                assert told.moves == 0, told.because
                return clients.answered() >= _ANSWERS and all(
                    seen(told, server, path, source) >= number
                    for server in SERVERS
                    for (path, source), number in _ENOUGH.items()
                )

            until(enough, 180, every=0.5, tell=lambda: (clients.counts, told))
            assert not told.alarms, told.because
            assert not told.events["suspected"], told.because
            assert told.looked["verified_total"] > 0
            # NSD shows no gap for the DS of an empty non-terminal: see test_unmodified.py.
            meant = {("nsd", LOCAL, "dnstap", "unsigned")}
            answered = {key for key in told.failures() if key[3] != "timeout"}  # a busy machine
            assert answered <= meant, told.failures()
            assert all(lab.asked().values())
            assert shown(lab), figures(lab).because
