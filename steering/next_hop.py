"""A next hop as text, in the words of `ip route`: what packets to a site leave this host by.

An address on a link (`10.255.1.2`), an interface where no address is needed (`dev tun0`), or an
address that means nothing without one (`via fe80::1 dev eth1`).
"""

from __future__ import annotations


def written(via: str | None, dev: str | None) -> str | None:
    """The text of a next hop; None where there is neither address nor interface."""
    if via is None:
        return None if dev is None else f"dev {dev}"
    return via if dev is None else f"via {via} dev {dev}"


def parts(hop: str) -> tuple[str | None, str | None]:
    """Address and interface. Raises ValueError for what `written` does not write."""
    match hop.split(" "):
        case [via] if via:
            return via, None
        case ["dev", dev] if dev:
            return None, dev
        case ["via", via, "dev", dev] if via and dev:
            return via, dev
    raise ValueError(f"{hop!r} is no next hop")


def words(hop: str) -> str:
    """What follows the destination in a command."""
    return hop if " " in hop else f"via {hop}"
