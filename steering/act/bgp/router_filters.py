"""Prefix lists for the routers: host routes of the policies' addresses and nothing else. Pure.

A router with such a list accepts only what the policies name, whatever the speaker announces. The
lists change only when a policy does.
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
    """The filter in the syntax of this kind of router, one list a family. Raises KeyError."""
    lines: list[str] = []
    every = sorted(set(addresses), key=_by_number)
    for family in Family:
        if mine := [a for a in every if Family.of(a) is family]:
            lines += KINDS[kind](family, mine)
    return "\n".join(lines)


def _by_number(address: str) -> tuple[int, int]:
    ip = ipaddress.ip_address(address)
    return ip.version, int(ip)
