"""A next hop as text, in the syntax of `ip route`: how packets to a site leave this host.

It is an address on a link (`10.255.1.2`), an interface that needs no address (`dev tun0`), or an
address with its interface (`via fe80::1 dev eth1`).
"""

from __future__ import annotations


def written(via: str | None, dev: str | None) -> str | None:
    """The text of a next hop; None if it has neither address nor interface."""
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
    """The next hop in an `ip route` command, after the destination."""
    return hop if " " in hop else f"via {hop}"
