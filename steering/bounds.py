"""Ranges of the numbers used on this host, defined once for the configuration and for `act`.

The configuration refuses values outside them, with the name of the key. `Claim`, which is also read
from a lease, refuses the same.
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
"""0 is the mark of all other traffic."""
MASKS: Final = range(3, U32 + 1)
"""One bit would leave no second mark for a site."""
MARK: Final = 0x40
MASK: Final = 0x7F
"""The default mark and mask: bits that no program in `act.kernel.marks.USERS` uses, and no mark
from 0x40 on has Istio's low bits."""
PROTOCOLS: Final = range(5, 256)
"""One octet; numbers below 5 are those of the kernel and iproute2 (rtnetlink.h)."""

RULES_BEFORE: Final = 3
RULES_AFTER: Final = 1
"""Our preferences before the rule that looks up the steers, and after it."""
_LOCAL, _MAIN = 0, 32766
"""Preferences of the rules that look up the local and the main table. After the latter nothing is
steered."""
PRIORITIES: Final = range(_LOCAL + 1 + RULES_BEFORE, _MAIN - RULES_AFTER)
"""For the rule that looks up the steers, so that all of ours lie between those two."""

INTERFACE: Final = 15
"""Octets of an interface's name (IFNAMSIZ minus the final zero)."""


def marks(mark: int, mask: int, sites: int) -> range:
    """The local path's mark, then one for each site, counted in the mask's lowest bit."""
    step = mask & -mask
    return range(mark, mark + step * sites + 1, step)


def unfit_mark(mark: int, mask: int, sites: int) -> str | None:
    """Why there are not enough marks for all paths from this one on; None: there are."""
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
    """Why this is not the address of one host that packets can be sent to; None: it is.

    A next hop must not be this host or link-local; addresses in other roles may be. A link-local
    IPv4 address needs no interface: the kernel finds the one link that it is on.
    """
    if address.is_multicast:
        return "is multicast, wanted one host's address"
    if address.is_unspecified or address == IPv4Address(U32):
        return "is not the address of a host, wanted one host's address"
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "names an interface, wanted an address that needs none"
        if address.ipv4_mapped:
            return f"is sent as IPv4, wanted {address.ipv4_mapped}"
        if address.is_link_local and not link_local:
            return "is link-local and needs an interface, wanted a global one"
    if address.is_loopback and not loopback:
        return "is this host itself, wanted the remote site's router or tunnel end"
    return None
