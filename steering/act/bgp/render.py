"""Renders what ExaBGP reads: its configuration, its environment and its commands. Pure.

Everything is rendered from checked values, so no foreign text can end a line or a bracket. Routes
are announced by `announce attributes … nlri …` only: with `announce ipv4 unicast` a wrong family is
acknowledged, ends the session, and is sent again at each reconnect.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence

from steering.act.bgp.settings import Attributes, BgpSettings, Peer, Table
from steering.model import Family

HELPER = "bridge"
_PREFIXES_PER_COMMAND = 400
"""Prefixes in one command: far below ExaBGP's limit of 1 MiB for a line."""


def configuration(
    terms: BgpSettings,
    *,
    helper: Sequence[str],
    passwords: Mapping[str, bytes],
    local: Mapping[str, str],
    routes: Table,
) -> str:
    """The complete configuration.

    Args:
        terms: settings and neighbours.
        helper: the command line of the bridge; words without blanks.
        passwords: by the neighbour's address, as bytes.
        local: our address on each session, by the neighbour's address.
        routes: announced with the session, before its End-of-RIB, so that a restarted speaker
            does not withdraw what is installed.
    """
    lines = [f"process {HELPER} {{", f"    run {' '.join(helper)};", "    encoder json;"]
    # Without it the next flap after the end of the helper crashes ExaBGP (KeyError).
    lines += ["    respawn true;", "}"]
    for peer in terms.peers:
        lines += _neighbor(terms, peer, passwords.get(peer.address), local, routes)
    return "\n".join(lines) + "\n"


def _neighbor(
    terms: BgpSettings,
    peer: Peer,
    password: bytes | None,
    local: Mapping[str, str],
    routes: Table,
) -> Iterator[str]:
    yield f"neighbor {peer.address} {{"
    yield f"    router-id {terms.router_id};"
    if peer.address in local:
        yield f"    local-address {local[peer.address]};"
    yield f"    local-as {terms.local_as};"
    yield f"    peer-as {peer.peer_as};"
    yield f"    hold-time {peer.hold_time};"
    yield f"    connect {peer.port};"
    if terms.listen is not None:
        yield f"    listen {terms.listen};"
    yield f"    passive {'true' if peer.passive else 'false'};"
    if password is not None:
        # In base64 no character of it can end the quotes.
        yield "    md5-base64 true;"
        yield f'    md5-password "{base64.b64encode(password).decode()}";'
    yield "    group-updates true;"
    yield "    adj-rib-out true;"
    yield "    adj-rib-in false;"
    # With graceful restart the routes of a dead speaker would stay for its restart time.
    yield ("    capability { asn4 enable; route-refresh enable; graceful-restart disable; }")
    yield f"    family {{ {' '.join(f'{family} unicast;' for family in peer.families)} }}"
    yield (
        f"    api {{ processes [ {HELPER} ]; neighbor-changes; negotiated;"
        " send { parsed; update; } }"
    )
    if own := {a: what for a, what in routes.items() if Family.of(a) in peer.families}:
        yield "    static {"
        yield from (f"        route {prefix(a)} {attribute_text(what)};" for a, what in own.items())
        yield "    }"
    yield "}"


def environment(terms: BgpSettings) -> Mapping[str, str]:
    """ExaBGP's environment: it inherits nothing else of ours."""
    return {
        "EXABGP_ENVFILE": "/dev/null",
        # Otherwise it waits on named pipes and starts a second child.
        "exabgp_api_cli": "false",
        "exabgp_daemon_daemonize": "false",
        "exabgp_daemon_user": terms.user,
        "exabgp_log_destination": "stderr",
        # At INFO it writes 230 bytes for each route.
        "exabgp_log_level": "CRITICAL",
        # ExaBGP takes 50 changes at a time, and sleeps a hundredth of this, in seconds, between
        # them: a thousand routes take 2.2 s at 5.0 and 1.0 s at 2.0. At 1.0, its default, it
        # uses 2 % of a core while nothing happens.
        "exabgp_reactor_speed": "2.0",
        "LANG": "C.UTF-8",
    }


def announcements(peer: str, table: Table) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The commands that announce these routes to one neighbour, each with its addresses."""
    return tuple(_commands("announce", peer, table))


def withdrawals(peer: str, table: Table) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The commands that withdraw these routes from one neighbour, each with its addresses."""
    return tuple(_commands("withdraw", peer, table))


def _commands(verb: str, peer: str, table: Table) -> Iterator[tuple[str, tuple[str, ...]]]:
    groups: dict[tuple[Attributes, Family], list[str]] = {}
    for address, attributes in table.items():
        groups.setdefault((attributes, Family.of(address)), []).append(address)
    for (attributes, _), addresses in groups.items():
        for at in range(0, len(addresses), _PREFIXES_PER_COMMAND):
            some = tuple(addresses[at : at + _PREFIXES_PER_COMMAND])
            what = f"attributes {attribute_text(attributes)} nlri {_all(some)}"
            yield f"neighbor {peer} {verb} {what}", some


def _all(addresses: Iterable[str]) -> str:
    return " ".join(map(prefix, addresses))


def prefix(address: str) -> str:
    """The host route's prefix. Raises ValueError if this is no address."""
    return f"{address}/{Family.of(address).bits}"


def attribute_text(attributes: Attributes) -> str:
    """Attributes in ExaBGP's syntax."""
    words = [f"next-hop {attributes.next_hop}"]
    if attributes.local_preference is not None:
        words.append(f"local-preference {attributes.local_preference}")
    if attributes.med is not None:
        words.append(f"med {attributes.med}")
    if attributes.communities:
        words.append(f"community [{' '.join(sorted(attributes.communities))}]")
    if attributes.large_communities:
        words.append(f"large-community [{' '.join(sorted(attributes.large_communities))}]")
    return " ".join(words)
