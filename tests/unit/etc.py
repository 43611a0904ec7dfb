"""The files of a host, as small as they may be."""

from __future__ import annotations

from pathlib import Path

from steering.lab import etc

_SHIPPED = Path(__file__).parents[2] / "policies"

ONE_SITE = """\
site: sin
state: state
runtime: run
sites: {pao: {next_hop: {ipv4: 10.255.1.2}}}
"""
TWO_SITES = """\
site: sin
sites:
  pao: {next_hop: {ipv4: 10.255.1.2, ipv6: "fd00:ff:1::2"}, capacity: 20000}
  fra: {next_hop: {ipv4: 10.255.2.2}}
"""
POLICY = """\
upstream: gtld-servers
zones: [com., net.]
nameservers:
  a.gtld-servers.net.: [192.5.6.30, "2001:503:a83e::2:30"]
"""
ANOTHER = "  b.gtld-servers.net.: [192.33.14.30]\n"
"""A nameserver more, for the end of it."""


def place(folder: Path, config: str = TWO_SITES, /, **policies: str) -> Path:
    """Write the configuration, and its policies by name; `POLICY` if there is none."""
    return etc.place(folder, config, policies or {"gtld": POLICY})


def configured(folder: Path, more: str = "") -> Path:
    """Write the configuration of one site, with the shipped policies."""
    config = folder / "steering.yaml"
    config.write_text(f"{ONE_SITE}policies: {_SHIPPED}\n{more}")
    return config
