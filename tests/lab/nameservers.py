"""Name servers of others as they come, each on a free port of this host."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode

from steering.lab.servers import servers
from steering.lab.servers.servers import Place
from steering.lab.servers.tangled import SIGNERS
from steering.lab.waiting import until

Server = Callable[[Place], list[str]]
SERVED: Final[Sequence[tuple[str, str, Server, Sequence[str]]]] = (
    ("NSD", "nsd", servers.nsd, tuple(SIGNERS)),
    ("BIND", "named", servers.named, tuple(SIGNERS)),
    ("Knot", "knotd", servers.knot, tuple(SIGNERS)),
    ("PowerDNS", "pdns_server", servers.pdns, tuple(SIGNERS)),
    ("Knot signing", "knotd", servers.knot_signing, (*SIGNERS, "lies")),
    ("PowerDNS signing", "pdns_server", servers.pdns_signing, (*SIGNERS, "narrow")),
)
"""What they are called, their program, how they are served, and which ways of signing they have."""


def ask(port: int, name: str, rdtype: str, timeout: float = 10.0) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype, want_dnssec=True, flags=0, id=7)
    answer, _ = dns.query.udp_with_fallback(query, "127.0.0.1", port=port, timeout=timeout)
    return answer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def running(argv: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """A name server that answers, or a resolver that refuses what has no RD."""

    def up() -> bool:
        try:
            answer = ask(port, "example.", "SOA", timeout=0.2)
        except (OSError, EOFError, dns.exception.DNSException):
            return False
        return answer.rcode() in {dns.rcode.NOERROR, dns.rcode.REFUSED}

    with log.open("wb") as said, subprocess.Popen(argv, stdout=said, stderr=said) as program:
        try:
            until(up, 30, tell=log.read_text)
            yield
        finally:
            program.terminate()
