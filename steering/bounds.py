"""How far the numbers of this host reach: each bound once, for the files and for what acts.

The configuration refuses what lies beyond, with the key's name; the claim on the kernel, which is
read from a lease as well, refuses the same. A bound that stood in two places would one day be two.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

U32: Final = 2**32 - 1

TABLES: Final = range(1, U32 + 1)
"""Routing tables: 0 is no table, and a number has 32 bits."""
SYSTEM_TABLES: Final[Mapping[int, str]] = {253: "`default`", 254: "`main`", 255: "`local`"}
"""RT_TABLE_* in include/uapi/linux/rtnetlink.h."""
MARKS: Final = range(1, U32 + 1)
"""0 is the mark of all traffic."""
MASKS: Final = range(3, U32 + 1)
"""Of one bit there is no second mark for a site."""
MARK: Final = 0x40
MASK: Final = 0x7F
"""The usual marks and the bits they are matched by: those that none of `act.marks.USERS` claims,
and no mark from 0x40 on has Istio's low bits."""
PROTOCOLS: Final = range(5, 256)
"""Below are the kernel's and iproute2's own marks of origin (rtnetlink.h); it is one octet."""

RULES_BEFORE: Final = 3
RULES_AFTER: Final = 1
"""Preferences of ours in front of the rule that looks up the steers, and behind it."""
_LOCAL, _MAIN = 0, 32766
"""Preferences of the rules of the local table and of the main table, behind which nothing is
steered."""
PRIORITIES: Final = range(_LOCAL + 1 + RULES_BEFORE, _MAIN - RULES_AFTER)
"""Of the rule that looks up the steers, so that all of ours lie between those two."""

INTERFACE: Final = 15
"""Octets of an interface's name (IFNAMSIZ less the final zero)."""


def marks(mark: int, mask: int, sites: int) -> range:
    """The local path's mark and, after it, one for each site: counted in the mask's lowest bit."""
    step = mask & -mask
    return range(mark, mark + step * sites + 1, step)


def unfit_mark(mark: int, mask: int, sites: int) -> str | None:
    """Why not every path can have its mark from this one on; None: it can."""
    if mark & ~mask:
        return f"is {mark:#x} and has bits outside the mask {mask:#x}, wanted a mark within it"
    fit = next((i for i, each in enumerate(marks(mark, mask, sites)) if each & ~mask), sites + 1)
    if fit <= sites:
        return (
            f"is {mark:#x}, and under the mask {mask:#x} that leaves marks for {fit - 1} sites"
            f" of {sites}, wanted a smaller mark or a mask of more bits"
        )
    return None


def unfit(
    address: IPv4Address | IPv6Address, *, loopback: bool = False, link_local: bool = False
) -> str | None:
    """Why this is no address of one host that packets can be sent to; None: it is one.

    A next hop is neither this host nor link-local, other roles may be. A link-local address of
    IPv4 needs no interface: the kernel finds the one link it is on.
    """
    if address.is_multicast:
        return "is multicast, wanted one host's address"
    if address.is_unspecified or address == IPv4Address(U32):
        return "is nobody's address, wanted one host's"
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "names an interface, wanted an address that needs none"
        if address.ipv4_mapped:
            return f"travels as IPv4, wanted {address.ipv4_mapped}"
        if address.is_link_local and not link_local:
            return "is link-local and means nothing without an interface, wanted a global one"
    if address.is_loopback and not loopback:
        return "is this host itself, wanted the remote site's router or tunnel end"
    return None
