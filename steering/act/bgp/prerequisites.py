"""What the speaker needs before it can start: passwords, addresses, files, a user.

Everything that could be wrong with these on this host is found here and reported in full sentences.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import os
import pwd
import shutil
import socket
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from steering.act.bgp import bridge
from steering.act.bgp.process import CONFIGURATION, FOLDER
from steering.act.bgp.render import configuration
from steering.act.bgp.settings import BgpSettings, Table
from steering.model import Family, Seconds
from steering.system.files import open_regular, write_atomically
from steering.system.permissions import Capability, credentials, may_pass

SOCKET = "socket"
_SHARED = frozenset({"nobody", "daemon", "bin", "www-data"})
_HELPER = "bridge.py"
_LONGEST = 80  # bytes of a key, TCP_MD5SIG_MAXKEYLEN in linux/tcp.h
_AS_ANOTHER_USER = (
    Capability.CAP_CHOWN,
    Capability.CAP_KILL,
    Capability.CAP_SETGID,
    Capability.CAP_SETUID,
)
"""What it takes to start a process as another user, and to end it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisites:
    """The result of the checks for one start."""

    terms: BgpSettings
    """With the usable neighbours only."""
    command: tuple[str, ...]
    helper: tuple[str, ...]
    passwords: Mapping[str, bytes]
    local: Mapping[str, str]
    troubles: tuple[str, ...]
    """What prevents the speaker, or the session to one neighbour."""
    usable: bool

    def text(self, routes: Table) -> str:
        """ExaBGP's configuration."""
        return configuration(
            self.terms,
            helper=self.helper,
            passwords=self.passwords,
            local=self.local,
            routes=routes,
        )

    @property
    def fingerprint(self) -> str:
        """Identifies configuration, command and user; the secrets can't be derived from it."""
        what = (self.text({}), self.terms.user, *self.command)
        return hashlib.sha256("\0".join(what).encode()).hexdigest()

    def write_files(self, runtime: Path, routes: Table) -> None:
        """Writes the files. Raises OSError.

        The folder is ours, and others may only enter it: in a folder of its own the speaker could
        redirect our writes by links. ExaBGP reads the configuration, with the secrets, while it is
        still root.
        """
        folder = runtime / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        write_atomically(folder / CONFIGURATION, self.text(routes))
        write_atomically(folder / _HELPER, Path(bridge.__file__).read_text(encoding="utf-8"))
        (folder / _HELPER).chmod(0o644)


def look_around(terms: BgpSettings, runtime: Path, lease: Seconds) -> Prerequisites:
    """Checks what is needed; what is usable, and what is wrong. Raises nothing, writes nothing."""
    troubles: list[str] = []
    passwords: dict[str, bytes] = {}
    peers = []
    for peer in terms.peers:
        if peer.password_file is not None:
            secret = _secret(peer.password_file)
            if isinstance(secret, str):
                troubles.append(f"neighbour {peer.address} is left out: {secret}")
                continue
            passwords[peer.address] = secret
        peers.append(peer)
    local = {p.address: o for p in peers if (o := p.local_address or _local_address_to(p.address))}
    command = _command(terms)
    if isinstance(command, str):
        troubles.append(command)
    python = _python(terms.user)
    if python is None:
        troubles.append(_no_user(terms.user))
    lacking = _lacking(terms)
    if lacking:
        troubles.append(
            f"the agent has not {', '.join(lacking)}: without it, it can't start the speaker as"
            f" user {terms.user}, let it listen, or end it"
        )
    folder = runtime.absolute() / FOLDER
    return Prerequisites(
        terms=replace(terms, peers=tuple(peers)),
        command=()
        if isinstance(command, str)
        else (*command, "server", str(folder / CONFIGURATION)),
        helper=(python or "", "-I", str(folder / _HELPER), str(folder / SOCKET), f"{lease:g}"),
        passwords=passwords,
        local=local,
        troubles=tuple(troubles),
        usable=bool(peers) and python is not None and not isinstance(command, str) and not lacking,
    )


def _secret(file: Path) -> bytes | str:
    """The password in a file, or what is wrong with the file. No message contains the password."""
    try:
        with open_regular(file) as stream:
            found = os.fstat(stream.fileno())
            if found.st_mode & 0o077:
                mode = stat.S_IMODE(found.st_mode)
                return f"{file} may be read by others (mode {mode:04o}), wanted 0600"
            if found.st_uid not in {0, os.geteuid()}:
                return f"{file} belongs to user {found.st_uid}, wanted root or the agent's"
            secret = stream.read(_LONGEST + 2).rstrip(b"\r\n")
    except OSError as error:
        if error.errno == errno.EINVAL:
            return f"{file} {error.strerror}"
        return f"{file} can't be read: {error.strerror}"
    if not 0 < len(secret) <= _LONGEST:
        return f"{file} holds no password of 1 to {_LONGEST} bytes (RFC 2385)"
    return secret


def _local_address_to(address: str) -> str | None:
    """Our own address on the route to a neighbour; None if there is no route, or no such family."""
    number = socket.AF_INET if Family.of(address) is Family.IPV4 else socket.AF_INET6
    try:
        with socket.socket(number, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 179))  # sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _command(terms: BgpSettings) -> tuple[str, ...] | str:
    if terms.exabgp is None:
        if importlib.util.find_spec("exabgp") is None:
            return "ExaBGP is not installed beside the agent, wanted the package exabgp 5.0"
        return (sys.executable, "-P", "-m", "exabgp")
    if shutil.which(str(terms.exabgp)) is None:
        return f"exabgp: {terms.exabgp} is no program, wanted that of ExaBGP 5.0"
    return (str(terms.exabgp),)


def _no_user(user: str) -> str:
    """Why the speaker can't run as this user, and what to do."""
    if not _exists(user):
        return (
            f"user {user}: there is none on this host, so the speaker does not start: {_make(user)}"
        )
    return (
        f"user {user}: wanted one who may run {sys.executable} or /usr/bin/python3: the speaker's"
        " helper runs as this user"
    )


def _make(user: str) -> str:
    """The command that makes the user."""
    if (shipped := Path(sys.prefix, "lib/sysusers.d", f"{user}.conf")).exists():
        return f"`systemd-sysusers {shipped}` makes it"
    return f"`useradd --system --no-create-home --shell /usr/sbin/nologin {user}` makes it"


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def shared(user: str) -> str:
    """Why this user should not run the speaker: other services run as it too; empty if not so.

    A process of the same user may end or stop the speaker, or trace it and send in its sessions
    (kill(2), ptrace(2)): an attacker of one service that runs as `nobody` controls them all.
    """
    if user not in _SHARED:
        return ""
    return (
        f"user {user} is one that other services run as too, and each could end or trace the"
        " speaker: wanted one of its own"
    )


def _python(user: str) -> str | None:
    """A Python that this user may run. Mode bits alone: ExaBGP drops all other groups."""
    if os.geteuid() != 0:
        return sys.executable
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return None
    for candidate in (sys.executable, "/usr/bin/python3"):
        if entry.pw_uid == 0 or _may_run(Path(candidate), entry.pw_uid, entry.pw_gid):
            return candidate
    return None


def _may_run(program: Path, uid: int, gid: int) -> bool:
    """Whether this user may run the program: each directory on its path, and on its links' path."""
    try:
        real = program.resolve(strict=True)
        places = {program, real, *program.absolute().parents, *real.parents}
        return all(may_pass(place.stat(), uid=uid, gid=gid) for place in places)
    except OSError:
        return False


def _lacking(terms: BgpSettings) -> list[str]:
    """The capabilities that these settings need and this process has not.

    Without CAP_KILL a speaker would start, and this process could not end it.
    """
    needed: list[Capability] = []
    if os.geteuid() == 0 and terms.user != "root":
        needed += _AS_ANOTHER_USER
    if terms.listen is not None and terms.listen < _first_free_port():
        needed.append(Capability.CAP_NET_BIND_SERVICE)
    try:
        have = credentials("self")
    except (OSError, ValueError, LookupError):
        return []  # /proc does not tell
    return [capability.name for capability in needed if not have.has(capability)]


def _first_free_port() -> int:
    """The first port that any user may listen on (ip-sysctl, ip_unprivileged_port_start)."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    return 1024
