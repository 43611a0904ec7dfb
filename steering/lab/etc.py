"""What labs write into the files of an agent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from steering.model import Family


def place(folder: Path, config: str, policies: Mapping[str, str], anchors: str = "") -> Path:
    """Write the configuration, its policies by name and its anchors; the path of the first."""
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    if anchors:
        (folder / "anchors").write_text(anchors)
    for name, text in policies.items():
        (folder / "policies" / f"{name}.yaml").write_text(text)
    file = folder / "steering.yaml"
    file.write_text(config)
    return file


def sites(hops: Mapping[str, Mapping[Family, str]]) -> str:
    """The sites with their next hops, in order of preference."""
    lines = (
        f"  {site}: {{next_hop: {{ipv4: {hop[Family.IPV4]}, ipv6: '{hop[Family.IPV6]}'}}}}\n"
        for site, hop in hops.items()
    )
    return f"sites:\n{''.join(lines)}"


def policy(
    upstream: str, zones: Iterable[str], servers: Mapping[str, Iterable[str]], *more: str
) -> str:
    """A policy with its nameservers at the end, after other lines."""
    lines = [f"upstream: {upstream}", f"zones: [{', '.join(zones)}]", *more, "nameservers:"]
    lines += [f"  {name}: {json.dumps(list(addresses))}" for name, addresses in servers.items()]
    return "\n".join(lines) + "\n"
