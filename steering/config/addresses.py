"""Addresses and what else stands for an end of a connection."""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import ClassVar

from steering import bounds
from steering.config.problems import shown
from steering.config.scalars import Place, Scalar
from steering.model import Family


class Role(enum.Enum):
    """What an address is for: what must be true of it follows from that."""

    NAMESERVER = enum.auto()
    NEXT_HOP = enum.auto()
    RESOLVER = enum.auto()
    NEIGHBOR = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Address(Scalar[str]):
    """One IP address, in the canonical form of RFC 5952."""

    role: Role
    family: Family | None = None

    @property
    def word(self) -> str:  # type: ignore[override]
        """What the reference calls it."""
        if self.family is None:
            return "address"
        return "IPv4 address" if self.family is Family.IPV4 else "IPv6 address"

    def read(self, value: object, _place: Place | None, /) -> str:
        try:
            # A number would be taken for an address in binary.
            address = ipaddress.ip_address(value if isinstance(value, str) else "")
        except ValueError:
            raise ValueError(f"{shown(value)} is no address, wanted an {self.word}") from None
        if self.family and Family.of(str(address)) is not self.family:
            raise ValueError(f"{value} is IPv{address.version}, wanted an {self.word}")
        because = bounds.unfit(
            address,
            loopback=self.role is not Role.NEXT_HOP,
            link_local=self.role is Role.RESOLVER,
        )
        if because:
            raise ValueError(f"{value} {because}")
        return str(address)

    def schema(self) -> Mapping[str, object]:
        if self.family:
            return {"type": "string", "format": self.family.value}
        return {"anyOf": [{"type": "string", "format": f.value} for f in Family]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix(Scalar[IPv4Network | IPv6Network]):
    """Addresses that begin alike: 10.88.0.0/16."""

    word: ClassVar[str] = "prefix"

    def read(self, value: object, _place: Place | None, /) -> IPv4Network | IPv6Network:
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

    def schema(self) -> Mapping[str, object]:
        return {"type": "string", "pattern": r"^[0-9a-fA-F:.]+/[0-9]{1,3}$"}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Scalar[Listen]):
    """An address and a port."""

    word: ClassVar[str] = "address:port"

    def read(self, value: object, _place: Place | None, /) -> Listen:
        if isinstance(value, Listen):
            return value
        try:
            return _endpoint(str(value))
        except ValueError:
            raise ValueError(
                f"is {shown(value)}, wanted an address and a port (127.0.0.1:9353, [::1]:9353)"
            ) from None

    def schema(self) -> Mapping[str, object]:
        return {"type": "string", "pattern": r"^(\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]{1,5}$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream(Scalar[str]):
    """Where resolvers bring dnstap: a unix socket, or tcp://address:port."""

    word: ClassVar[str] = "socket path or tcp://address:port"

    def read(self, value: object, _place: Place | None, /) -> str:
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

    def schema(self) -> Mapping[str, object]:
        return {"type": "string", "pattern": r"^(/.+|tcp://(\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]+)$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface(Scalar[str]):
    """The name of a network interface."""

    word: ClassVar[str] = "interface"
    bound: bool = False
    """What sockets are bound to, not what packets of others arrive by."""

    def read(self, value: object, _place: Place | None, /) -> str:
        # The kernel's own rule (dev_valid_name in net/core/dev.c).
        if not isinstance(value, str) or not re.fullmatch(r"[!-.0-9;-~]{1,15}", value):
            raise ValueError(f"{shown(value)} is no interface, wanted up to 15 characters")
        if value in {".", ".."}:
            raise ValueError(f"{shown(value)} is no interface, wanted its name")
        if value == "lo" and not self.bound:
            raise ValueError(
                "lo is how a rule sees what this host itself sends, which would then never be "
                "steered; wanted the interfaces that other sites' packets arrive by"
            )
        return value

    def schema(self) -> Mapping[str, object]:
        named = {"type": "string", "pattern": "^[!-.0-9;-~]{1,15}$"}
        return named if self.bound else {**named, "not": {"const": "lo"}}
