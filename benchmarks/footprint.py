"""Memory and CPU of the agent and its guard, at the default cadence, for a minute.

The two shipped policies (root and gTLD servers, 52 addresses), two remote sites, real
servers behind each path in namespaces. RSS counts what processes share once for each;
PSS counts it once.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks import report

MINUTE = 60.0
WARM = 25.0
"""Seconds until every address has been asked and the keys are there."""


def run() -> None:
    """Measure and print the table."""
    from steering.lab.scene import Scene, Settings
    from steering.lab.world import World

    if World.missing():
        print(f"\nfootprint: left out: {'; '.join(World.missing())}")
        return
    shipped = Path(__file__).resolve().parent.parent / "policies"
    servers = _nameservers(shipped)
    with Scene(nameservers=servers) as scene:
        scene.serve()
        scene.resolver.start()
        config = scene.configure(Settings(interval="10s", fast_interval="200ms"))
        for file in (config.parent / "policies").glob("*.yaml"):
            file.unlink()
        for file in shipped.glob("*.yaml"):
            (config.parent / "policies" / file.name).write_text(file.read_text())
        agent = scene.start_agent()
        guard = _guard_of(agent.pid)
        time.sleep(WARM)
        before = {pid: _cpu(pid) for pid in (agent.pid, guard)}
        asked = _asked(scene.api())
        started = time.monotonic()
        time.sleep(MINUTE)
        span = time.monotonic() - started
        rate = (_asked(scene.api()) - asked) / span
        rows = [
            (
                name,
                f"{_memory(pid, 'Rss'):.1f} MB",
                f"{_memory(pid, 'Pss'):.1f} MB",
                f"{(_cpu(pid) - before[pid]) / span:.2%}",
            )
            for name, pid in (("agent", agent.pid), ("guard", guard))
        ]
        rows.append(
            (
                "together",
                f"{sum(_memory(p, 'Rss') for p in before):.1f} MB",
                f"{sum(_memory(p, 'Pss') for p in before):.1f} MB",
                f"{sum(_cpu(p) - c for p, c in before.items()) / span:.2%}",
            )
        )
    report.table(
        f"52 addresses over 3 paths, {rate:.1f} probes/s, {span:.0f} s",
        ("", "RSS", "PSS", "CPU of a core"),
        rows,
    )


def _nameservers(policies: Path) -> dict[str, tuple[str, ...]]:
    import yaml

    found: dict[str, tuple[str, ...]] = {}
    for file in sorted(policies.glob("*.yaml")):
        for name, addresses in yaml.safe_load(file.read_text())["nameservers"].items():
            found[name] = tuple(addresses)
    return found


def _asked(status: dict[str, object]) -> int:
    addresses = status["addresses"]
    assert isinstance(addresses, list)
    return sum(path["samples"] for entry in addresses for path in entry["paths"].values())


def _guard_of(agent: int) -> int:
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if b"steering.act.guard" in words and parent == agent:
            return int(entry.name)
    raise RuntimeError("no guard beside the agent")


def _memory(pid: int, what: str) -> float:
    """MB of resident memory, by the kernel's own sum."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {what} of process {pid}")


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
