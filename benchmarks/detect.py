"""Detection by dnstap: from the first expired RRset served to suspicion and to the routes.

The world of the lab: 26 addresses behind NSD, a real Unbound that 200 new names a second are
asked of, the agent with its default cadence. An incident is served, awaited and taken back,
again and again; what is measured begins before the first expired answer can be given.
"""

from __future__ import annotations

import os
import statistics
import time

from benchmarks import report
from steering.agent import restart_state
from steering.lab.scene import Scene, Settings, seconds
from steering.lab.servers.resolver import Unbound
from steering.lab.servers.zone import Fault, FaultKind
from steering.lab.waiting import until
from steering.model import LOCAL, Seconds

TIMES = int(os.environ.get("STEERING_BENCH_TIMES", "10"))
RATE = 200.0
CADENCE = Settings(interval="10s", fast_interval="200ms", hold="3s", clean=30, dnstap=True)
TAPPED = """\
dnstap:
  dnstap-enable: yes
  dnstap-socket-path: "{}"
  dnstap-bidirectional: yes
  dnstap-log-resolver-query-messages: yes
  dnstap-log-resolver-response-messages: yes
"""


def run() -> None:
    """Print the table."""
    rows = []
    for share in (0.13, 0.005):
        suspected, installed = _incidents(share)
        for what, took in (("suspected", suspected), ("all addresses installed", installed)):
            rows.append(
                (
                    f"{share:.1%} of the RRsets",
                    what,
                    f"{statistics.median(took):.1f} s",
                    f"{statistics.mean(took):.1f} s",
                    f"{max(took):.1f} s",
                )
            )
    report.table(
        f"from served to {RATE:g} answers/s heard, {TIMES} incidents each, 26 addresses",
        ("fault", "until", "median", "mean", "worst"),
        rows,
    )


def _incidents(share: float) -> tuple[list[Seconds], list[Seconds]]:
    suspected: list[Seconds] = []
    installed: list[Seconds] = []
    with Scene(count=4000, secure=0.5, load=RATE) as scene:
        scene.serve()
        scene.configure(CADENCE)
        scene.resolver = Unbound(scene.world, keys=scene.anchors, dnstap=TAPPED.format(scene.tap))
        scene.resolver.start()
        scene.clients.start()
        wanted = len(scene.world.addresses)
        fault = Fault(kind=FaultKind.EXPIRED, share=share, spare_apex=True)
        fresh, ill = scene.zones(), scene.zones(fault)
        for _ in range(TIMES):
            # One without a past each time: the hold doubles with every breach remembered.
            (scene.world.work / "state" / restart_state.NAME).unlink(missing_ok=True)
            scene.start_agent()
            until(lambda: _all_healthy(scene), 60, every=0.05)
            scene.events()
            began = time.time()
            scene.authorities[LOCAL].serve(ill)
            until(lambda: len(scene.routes()) == wanted, 400, every=0.05)
            installed.append(time.time() - began)
            first = next(e for e in scene.events() if e["event"] == "suspected")
            suspected.append(seconds(first["time"]) - began)
            scene.authorities[LOCAL].serve(fresh)
            until(lambda: not scene.routes() and _all_healthy(scene), 200, every=0.05)
            scene.stop_agent()
    return suspected, installed


def _all_healthy(scene: Scene) -> bool:
    return all(
        path["health"] == "healthy"
        for address in scene.api()["addresses"]
        for path in address["paths"].values()
    )
