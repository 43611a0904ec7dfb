"""What a host's agent may write to, for tests: two sites, one of them for IPv4 alone."""

from __future__ import annotations

from steering.act.kernel.claim import Claim
from steering.model import Family

CLAIM = Claim(
    table=5353,
    protocol=53,
    priority=5353,
    mark=0x5353,
    sites=("pao", "fra"),
    next_hops={
        "pao": {Family.IPV4: "10.255.1.2", Family.IPV6: "fd00:ff:1::2"},
        "fra": {Family.IPV4: "10.255.2.2"},
    },
    transit_interfaces=("bb-pao",),
)
