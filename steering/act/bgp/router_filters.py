"""Filters for the routers' side: host routes of the policies' addresses and nothing else. Pure.

Whatever a speaker might be made to announce, a router with these takes no more than what the
policies name. They change only when a policy does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence

from steering.model import Family

NAME = "steering"


def _bird(family: Family, addresses: Sequence[str]) -> Iterable[str]:
    yield f"define {NAME.upper()}_{family.upper()} = ["
    yield ",\n".join(f"  {address}/{family.bits}" for address in addresses)
    yield "];"


def _frr(family: Family, addresses: Sequence[str]) -> Iterable[str]:
    word = "ip" if family is Family.IPV4 else "ipv6"
    yield f"no {word} prefix-list {NAME}-{family}"
    for number, address in enumerate(addresses, 1):
        yield f"{word} prefix-list {NAME}-{family} seq {5 * number} permit {address}/{family.bits}"


def _junos(family: Family, addresses: Sequence[str]) -> Iterable[str]:
    yield f"delete policy-options prefix-list {NAME}-{family}"
    for address in addresses:
        yield f"set policy-options prefix-list {NAME}-{family} {address}/{family.bits}"


KINDS: Mapping[str, Callable[[Family, Sequence[str]], Iterable[str]]] = {
    "bird": _bird,
    "frr": _frr,
    "junos": _junos,
}


def prefix_list(kind: str, addresses: Iterable[str]) -> str:
    """The filter as this kind of router reads it, a list a family. Raises KeyError."""
    lines: list[str] = []
    every = sorted(set(addresses), key=_by_number)
    for family in Family:
        if mine := [a for a in every if Family.of(a) is family]:
            lines += KINDS[kind](family, mine)
    return "\n".join(lines)


def _by_number(address: str) -> tuple[int, int]:
    ip = ipaddress.ip_address(address)
    return ip.version, int(ip)
