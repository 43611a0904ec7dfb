"""Parses the lines that ExaBGP prints. Pure.

`done` means that a command has reached ExaBGP's table, `Sent` that an UPDATE was sent. Their order
is ExaBGP's. A line that is not understood gives None, and changes nothing.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from steering.act.bgp.settings import Attributes
from steering.model import Family
from steering.system.unreadable import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The end of a command: ExaBGP accepted it, or did not."""

    accepted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The version of ExaBGP."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """A session is established."""

    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """A session, or an attempt at one, ended."""

    peer: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Negotiated:
    """The families that both sides of a session support."""

    peer: str
    families: frozenset[Family]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An UPDATE that was sent."""

    peer: str
    announced: Mapping[str, str]
    """Address -> next hop."""
    withdrawn: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfRib:
    """All routes of a family have been sent since the session came up."""

    peer: str
    family: Family


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One route of adj-rib-out."""

    peer: str
    prefix: str
    """As ExaBGP prints it. If it is not a host route it is not ours."""
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Which sessions are established now, with the families of each."""

    established: Mapping[str, frozenset[Family]]


Message = Answered | Version | Up | Down | Negotiated | Sent | EndOfRib | Listed | Sessions

_LISTED = re.compile(
    r"neighbor (\S+) .*?family-allowed \S+ ipv[46] unicast (\S+) next-hop (\S+)(.*)"
)
_NUMBER = {
    name: re.compile(rf" {name} ([0-9]{{1,10}})(?= |$)") for name in ("local-preference", "med")
}
_MANY = {
    name: re.compile(rf" {name} (?:\[ ?([^\]]*?) ?\]|(\S+))")
    for name in ("community", "large-community")
}


def parse(line: str) -> Message | None:
    """Parses one line; None if it is not relevant or not understood."""
    line = line.strip()
    if line in {"done", "error"}:
        return Answered(accepted=line == "done")
    if line.startswith("exabgp "):
        return Version(text=printable(line.removeprefix("exabgp ")))
    if line.startswith("neighbor "):
        return _listed(line)
    if line[:1] not in {"{", "["}:
        return None
    try:
        value = json.loads(line)
        return _sessions(value) if isinstance(value, list) else _event(value)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _listed(line: str) -> Listed | None:
    # What is listed may be sent back to ExaBGP, which reads ASCII alone.
    if not line.isascii() or not (found := _LISTED.fullmatch(line)):
        return None
    peer, prefix, next_hop, rest = found.groups()
    return Listed(
        peer=peer,
        prefix=prefix,
        attributes=Attributes(
            next_hop=next_hop,
            local_preference=_number(rest, "local-preference"),
            med=_number(rest, "med"),
            communities=_many(rest, "community"),
            large_communities=_many(rest, "large-community"),
        ),
    )


def _number(text: str, name: str) -> int | None:
    found = _NUMBER[name].search(text)
    return int(found[1]) if found else None


def _many(text: str, name: str) -> frozenset[str]:
    found = _MANY[name].search(text)
    return frozenset((found[1] or found[2] or "").split()) if found else frozenset()


def _sessions(value: list[Any]) -> Sessions:
    return Sessions(
        established={
            str(one["peer"]["address"]): _families(one["families"])
            for one in value
            # `state` is still down in the first second of a session.
            if one["fsm"] == "ESTABLISHED"
        }
    )


def _event(value: Any) -> Message | None:  # noqa: ANN401 - JSON of another program
    neighbor = value["neighbor"]
    peer = str(neighbor["address"]["peer"])
    match value["type"]:
        case "state":
            if neighbor["state"] == "up":
                return Up(peer=peer)
            if neighbor["state"] == "down":
                return Down(peer=peer, because=printable(str(neighbor.get("reason", ""))))
            return None  # `connected` comes for refused connections too
        case "negotiated":
            return Negotiated(peer=peer, families=_families(neighbor["negotiated"]["families"]))
        case "update" if neighbor["direction"] == "send":
            return _update(peer, neighbor["message"])
    return None


def _update(peer: str, message: Any) -> Message | None:  # noqa: ANN401
    if "eor" in message:
        return EndOfRib(peer=peer, family=Family(message["eor"]["afi"]))
    update = message["update"]
    announced = {
        address: str(hop)
        for by_hop in update.get("announce", {}).values()
        for hop, routes in by_hop.items()
        for address in _hosts(routes)
    }
    withdrawn = frozenset(
        address for routes in update.get("withdraw", {}).values() for address in _hosts(routes)
    )
    return Sent(peer=peer, announced=announced, withdrawn=withdrawn)


def _hosts(routes: Any) -> Iterator[str]:  # noqa: ANN401
    for route in routes:
        if (address := host(route["nlri"])) is not None:
            yield address


def host(prefix: str) -> str | None:
    """The address of a host route; None for a shorter prefix, and for one with a zone (RFC 4007).

    A zone may be any text, and the address is sent back to ExaBGP, which reads ASCII alone.
    """
    if "%" in prefix:
        return None
    try:
        network = ipaddress.ip_network(prefix)
    except ValueError:
        return None
    return str(network.network_address) if network.num_addresses == 1 else None


def _families(names: list[str]) -> frozenset[Family]:
    return frozenset(f for f in Family if f"{f} unicast" in names)
