"""The kinds of values that stand for an end of a connection, a network or a route."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from steering import bounds, next_hop
from steering.config.problems import shown
from steering.config.types import Kind, text_schema
from steering.model import Family, Source

_WORDS = {None: "address", Family.IPV4: "IPv4 address", Family.IPV6: "IPv6 address"}
_INTERFACE = "[!-.0-9;-~]{1,15}"


# --- one address --------------------------------------------------------------------------------


def _read_address(
    value: object,
    *,
    family: Family | None = None,
    loopback: bool = True,
    link_local: bool = False,
) -> str:
    """One IP address, in the canonical form of RFC 5952. What is allowed: `bounds.unfit`."""
    try:
        # A number would be taken for an address in binary.
        address = ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"{shown(value)} is no address, wanted an {_WORDS[family]}") from None
    if family and Family.of(str(address)) is not family:
        raise ValueError(f"{value} is IPv{address.version}, wanted an {_WORDS[family]}")
    if because := bounds.unfit(address, loopback=loopback, link_local=link_local):
        raise ValueError(f"{value} {because}")
    return str(address)


def _address_schema(family: Family | None) -> Mapping[str, object]:
    if family:
        return {"type": "string", "format": family.value}
    return {"anyOf": [{"type": "string", "format": each.value} for each in Family]}


def _address(family: Family | None = None, **allowed: bool) -> Kind:
    read = partial(_read_address, family=family, **allowed)
    return Kind(_WORDS[family], read, _address_schema(family))


Address = Annotated[str, _address()]
IPv4 = Annotated[str, _address(Family.IPV4)]
IPv6 = Annotated[str, _address(Family.IPV6)]
ResolverAddress = Annotated[str, _address(link_local=True)]
IPv4Router = Annotated[str, _address(Family.IPV4, loopback=False)]
IPv6Router = Annotated[str, _address(Family.IPV6, loopback=False)]


def _read_family(value: object) -> Family:
    try:
        return Family(str(value))
    except ValueError:
        raise ValueError(f"is {shown(value)}, wanted ipv4 or ipv6") from None


FamilyName = Annotated[
    Family, Kind("ipv4, ipv6", _read_family, {"enum": [str(family) for family in Family]})
]


# --- prefixes and interfaces --------------------------------------------------------------------


def _read_prefix(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, (IPv4Network, IPv6Network)):
        return value
    if not isinstance(value, str) or "/" not in value:
        raise ValueError(f"{shown(value)} is no prefix, wanted an address and a length")
    try:
        found = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{shown(value)} is no prefix, wanted one like 10.88.0.0/16") from None
    address = ipaddress.ip_interface(value).ip
    if address != found.network_address:
        raise ValueError(f"{value} has bits behind its length, wanted {found}")
    return found


def _read_interface(value: object) -> str:
    """An interface that sockets or routes are bound to."""
    # The kernel's own rule (dev_valid_name in net/core/dev.c).
    if not isinstance(value, str) or not re.fullmatch(_INTERFACE, value):
        raise ValueError(f"{shown(value)} is no interface, wanted up to 15 characters")
    if value in {".", ".."}:
        raise ValueError(f"{shown(value)} is no interface, wanted its name")
    return value


def _read_transit_interface(value: object) -> str:
    """An interface that packets of other sites arrive by."""
    if (name := _read_interface(value)) == "lo":
        raise ValueError(
            "lo is how a rule sees what this host itself sends, which would then never be "
            "steered; wanted the interfaces that other sites' packets arrive by"
        )
    return name


Prefix = Annotated[
    IPv4Network | IPv6Network,
    Kind("prefix", _read_prefix, text_schema(r"[0-9a-fA-F:.]+/[0-9]{1,3}")),
]
TransitInterface = Annotated[
    str,
    Kind(
        "interface",
        _read_transit_interface,
        {**text_schema(_INTERFACE), "not": {"const": "lo"}},
    ),
]


# --- ends of a connection -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the status is served."""

    host: str
    port: int  # 0: any free one

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _endpoint(text: str) -> Listen:
    """Host and port of `127.0.0.1:9353` or `[::1]:9353`. Raises ValueError without a message."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    if not found or int(found[3]) > 0xFFFF:
        raise ValueError
    bracketed, plain, port = found.groups()
    host = ipaddress.IPv6Address(bracketed) if bracketed else ipaddress.IPv4Address(plain)
    return Listen(host=str(host), port=int(port))


def _read_endpoint(value: object) -> Listen:
    if isinstance(value, Listen):
        return value
    try:
        return _endpoint(str(value))
    except ValueError:
        raise ValueError(
            f"is {shown(value)}, wanted an address and a port (127.0.0.1:9353, [::1]:9353)"
        ) from None


def _read_stream(value: object) -> str:
    wanted = "wanted an absolute socket path or tcp://address:port"
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"is {shown(value)}, {wanted}")
    if value.startswith("/"):
        # sun_path holds 108 bytes with the final zero (unix(7)).
        if len(value.encode()) > 107:
            raise ValueError(f"{shown(value)} is too long for a socket, wanted at most 107")
        return value
    try:
        endpoint = _endpoint(value.removeprefix("tcp://") if "://" in value else "")
    except ValueError:
        raise ValueError(f"is {shown(value)}, {wanted}") from None
    return f"tcp://{endpoint}"


Endpoint = Annotated[
    Listen,
    Kind("address:port", _read_endpoint, text_schema(r"(\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]{1,5}")),
]
Stream = Annotated[
    str,
    Kind(
        "socket path or tcp://address:port",
        _read_stream,
        text_schema(r"(/.+|tcp://(\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]+)"),
    ),
]
"""Where resolvers send dnstap: a unix socket, or tcp://address:port."""


# --- sources and next hops ----------------------------------------------------------------------

_DEV = text_schema(_INTERFACE)


def _object(*required: str, **properties: object) -> dict[str, object]:
    """The JSON Schema of a mapping."""
    closed = {"type": "object", "additionalProperties": False}
    return {**closed, "properties": properties, "required": list(required)}


def _read_source(value: object, *, family: Family) -> Source:
    if isinstance(value, Source):
        return value
    address, interface = value, None
    if isinstance(value, Mapping):
        if not {"address"} <= value.keys() <= {"address", "interface"}:
            raise ValueError(f"is {shown(dict(value))}, wanted address and interface")
        address, interface = value["address"], value.get("interface")
    found = _read_address(address, family=family)
    if interface is not None:
        interface = _read_interface(interface)
    return Source(address=found, interface=interface)


def _write_source(source: Source) -> str | Mapping[str, str]:
    if source.interface is None:
        return source.address
    return {"address": source.address, "interface": source.interface}


def _source(family: Family) -> Kind:
    address = _address_schema(family)
    return Kind(
        "address or {address, interface}",
        partial(_read_source, family=family),
        {"anyOf": [address, _object("address", address=address, interface=_DEV)]},
        _write_source,
    )


IPv4Source = Annotated[Source, _source(Family.IPV4)]
IPv6Source = Annotated[Source, _source(Family.IPV6)]
"""{address, interface} where sockets are bound to a link or a VRF."""


def _read_next_hop(value: object, *, family: Family) -> str:
    """A next hop as text (`steering.next_hop`)."""
    match value:
        case list() | tuple():
            raise ValueError(
                f"is {shown(list(value))}, wanted one next hop: for two routers an address that"
                " they share (VRRP), or an interface"
            )
        case Mapping():
            if not {"dev"} <= value.keys() <= {"via", "dev"}:
                raise ValueError(f"is {shown(dict(value))}, wanted dev, or via and dev")
            if (dev := _read_interface(value["dev"])) == "lo":
                raise ValueError("lo is this host itself, wanted the link to the remote site")
            via = _link_local(value["via"], family) if "via" in value else None
            return next_hop.written(via, dev) or ""
    if "%" in (text := str(value)) or text.lower().startswith("fe80:"):
        via, _, dev = text.partition("%")
        form = f'{{via: "{via}", dev: {dev or "INTERFACE"}}}'
        raise ValueError(f"{shown(value)} is link-local on an interface, wanted {form}")
    return _read_address(value, family=family, loopback=False)


def _link_local(value: object, family: Family) -> str:
    try:
        via = ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"via: {shown(value)} is no address, wanted a link-local one") from None
    if family is Family.IPV4 or via.version == 4 or not via.is_link_local:
        raise ValueError(f"via: {via} is not link-local in IPv6, wanted the address alone")
    if because := bounds.unfit(via, link_local=True):
        raise ValueError(f"via: {via} {because}")
    return str(via)


def _write_next_hop(hop: str) -> str | Mapping[str, str]:
    via, dev = next_hop.parts(hop)
    if dev is None:
        return hop
    return {"dev": dev} if via is None else {"via": via, "dev": dev}


def _next_hop(family: Family) -> Kind:
    forms = [_address_schema(family), _object("dev", dev=_DEV)]
    if family is Family.IPV6:
        forms.append(_object("via", "dev", via=_address_schema(family), dev=_DEV))
    read = partial(_read_next_hop, family=family)
    return Kind("address, {dev} or {via, dev}", read, {"anyOf": forms}, _write_next_hop)


IPv4NextHop = Annotated[str, _next_hop(Family.IPV4)]
IPv6NextHop = Annotated[str, _next_hop(Family.IPV6)]


# --- BGP ----------------------------------------------------------------------------------------


def _community(word: str, parts: int, bits: int) -> Kind:
    """As many numbers as the kind of community has."""

    def read(value: object) -> str:
        wanted = ":".join(["64512", "5353", "1"][:parts])
        numbers = value.split(":") if isinstance(value, str) else []
        if len(numbers) != parts or not all(re.fullmatch("[0-9]{1,10}", n) for n in numbers):
            raise ValueError(f"is {shown(value)}, wanted {parts} numbers ({wanted}), quoted")
        if any(int(n) >> bits for n in numbers):
            raise ValueError(f"is {value}, wanted numbers of {bits} bits each")
        return ":".join(str(int(n)) for n in numbers)

    return Kind(word, read, text_schema("[0-9]+" + ":[0-9]+" * (parts - 1)))


Community = Annotated[str, _community("community", 2, 16)]
LargeCommunity = Annotated[str, _community("large community", 3, 32)]
