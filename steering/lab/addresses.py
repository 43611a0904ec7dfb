"""The nameserver addresses that the lab has behind every path."""

from __future__ import annotations

from collections.abc import Mapping

GTLD_SERVERS: Mapping[str, tuple[str, str]] = {
    "a.gtld-servers.net.": ("192.5.6.30", "2001:503:a83e::2:30"),
    "b.gtld-servers.net.": ("192.33.14.30", "2001:503:231d::2:30"),
    "c.gtld-servers.net.": ("192.26.92.30", "2001:503:83eb::30"),
    "d.gtld-servers.net.": ("192.31.80.30", "2001:500:856e::30"),
    "e.gtld-servers.net.": ("192.12.94.30", "2001:502:1ca1::30"),
    "f.gtld-servers.net.": ("192.35.51.30", "2001:503:d414::30"),
    "g.gtld-servers.net.": ("192.42.93.30", "2001:503:eea3::30"),
    "h.gtld-servers.net.": ("192.54.112.30", "2001:502:8cc::30"),
    "i.gtld-servers.net.": ("192.43.172.30", "2001:503:39c1::30"),
    "j.gtld-servers.net.": ("192.48.79.30", "2001:502:7094::30"),
    "k.gtld-servers.net.": ("192.52.178.30", "2001:503:d2d::30"),
    "l.gtld-servers.net.": ("192.41.162.30", "2001:500:d937::30"),
    "m.gtld-servers.net.": ("192.55.83.30", "2001:501:b1f9::30"),
}
"""The nameservers of com. and net.: name -> IPv4 and IPv6 address (root zone, 2023)."""


def addresses_of(nameservers: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """All addresses of a set of nameservers, in their order."""
    return tuple(address for both in nameservers.values() for address in both)
