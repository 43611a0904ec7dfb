"""Real resolvers on a port of the loopback, which read a copy of the root zone from a file."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.query
import pytest
from transfers import serving
from wholezone import Change, WholeZone

from steering.config.rootzone import Publish
from steering.lab.network.sandbox import find
from steering.lab.waiting import until
from steering.observe.zone.facts import Copy
from steering.rootzone.fetch import Outcome, fetch
from steering.rootzone.keep import Kept
from steering.rootzone.publish import Published, Target, publish
from steering.rootzone.targets import target_of

SERIAL = 2026120100
PROGRAMS = {
    "unbound": "unbound",
    "bind": "named",
    "pdns-recursor": "pdns_recursor",
    "knot-resolver": "kresd",
}


def free_port() -> int:
    """A port that is free now, and the next one too."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return int(port)


@dataclass
class Serving:
    """One resolver, the copy that is kept for it, and its file."""

    kind: str
    work: Path
    made: WholeZone = field(default_factory=lambda: WholeZone(now=time.time()))
    process: subprocess.Popen[bytes] | None = None
    port: int = field(default_factory=free_port)

    @property
    def kept(self) -> Kept:
        return Kept(self.work / "rootzone")

    @property
    def file(self) -> Path:
        return self.work / "root.zone"

    def have(self, serial: int, before: Change | None = None) -> Copy:
        """Fetches a copy with this serial."""
        with serving(self.made.signed(serial, before=before)) as source, self.kept.locked():
            found = asyncio.run(fetch(self.kept, [source], self.made.anchors, self.made.now))
        assert found.outcome is Outcome.NEW, found
        assert found.copy is not None
        return found.copy

    def settings(self) -> Publish:
        """As the configuration has it."""
        control: Mapping[str, Mapping[str, Any]] = {
            "unbound": {
                "control": ["unbound-control", "-c", str(self.work / "conf")],
                "check": ["unbound-checkconf", str(self.work / "conf")],
            },
            "bind": {
                "control": [
                    *("rndc", "-s", "127.0.0.1", "-p", str(self.port + 1)),
                    *("-c", str(self.work / "rndc.conf")),
                ]
            },
            "pdns-recursor": {"control": ["rec_control", f"--socket-dir={self.work}"]},
            "knot-resolver": {
                "sockets": [str(self.work / "control")],
                "user": "root",
                "include": str(self.work / "copy.lua"),
            },
        }
        return Publish.model_validate(
            {self.kind: control[self.kind], "file": str(self.file), "address": "127.0.0.1"}
        )

    def target(self) -> Target:
        made = target_of("cache-1", self.settings())
        object.__setattr__(made, "port", self.port)
        return made

    def publish(self, copy: Copy, target: Target | None = None) -> Published:
        with self.kept.locked():
            return asyncio.run(
                publish(
                    self.kept,
                    copy,
                    target or self.target(),
                    self.made.anchors,
                    self.made.now,
                    rng=random.Random(),
                )
            )

    def start(self) -> None:
        """Starts it with what is on the disk, and waits until it answers from the copy."""
        self.stop()
        with (self.work / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.work
            )
        until(self._up, 30.0, tell=self.log)

    def _up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        return self.rcode("tld00001.", "DS") == "NOERROR"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log(self) -> str:
        return (self.work / "log").read_text(errors="replace")[-2000:]

    def ask(self, name: str, rdtype: str) -> dns.message.Message | None:
        query = dns.message.make_query(name, rdtype, want_dnssec=True)
        try:
            return dns.query.udp(query, "127.0.0.1", 2.0, self.port)
        except (OSError, dns.exception.Timeout):
            return None

    def rcode(self, name: str, rdtype: str) -> str:
        answer = self.ask(name, rdtype)
        return "silence" if answer is None else dns.rcode.to_text(answer.rcode())

    def _argv(self) -> list[str]:
        if lacking := [p for p in (PROGRAMS[self.kind],) if find(p) is None]:
            pytest.skip(f"not installed: {lacking[0]}")
        anchor = self.made.anchor.split(" DS ")[1].strip()
        return {
            "unbound": self._unbound,
            "bind": self._bind,
            "pdns-recursor": self._recursor,
            "knot-resolver": self._knot,
        }[self.kind](anchor)

    def _unbound(self, anchor: str) -> list[str]:
        conf = self.work / "conf"
        conf.write_text(
            f"server:\n interface: 127.0.0.1@{self.port}\n access-control: 127.0.0.0/8 allow\n"
            f' directory: "{self.work}"\n chroot: ""\n username: ""\n pidfile: ""\n'
            f' use-syslog: no\n use-systemd: no\n trust-anchor: ". DS {anchor}"\n'
            " trust-anchor-signaling: no\n aggressive-nsec: no\n num-threads: 1\n"
            ' module-config: "validator iterator"\n'
            f"remote-control:\n control-enable: yes\n control-use-cert: no\n"
            f' control-interface: "{self.work}/control"\n'
            f'auth-zone:\n name: "."\n zonefile: "{self.file}"\n for-downstream: no\n'
            " for-upstream: yes\n fallback-enabled: no\n zonemd-check: yes\n"
        )
        return ["unbound", "-d", "-p", "-c", str(conf)]

    def _bind(self, _: str) -> list[str]:
        key = 'key lab { algorithm hmac-sha256; secret "c3RlZXJpbmc6IHRoZSBsYWIncyBvd24ga2V5"; };\n'
        (self.work / "rndc.conf").write_text(f"{key}options {{ default-key lab; }};\n")
        (self.work / "conf").write_text(
            f'{key}options {{ directory "{self.work}"; pid-file none; session-keyfile none;'
            f" lock-file none; listen-on port {self.port} {{ 127.0.0.1; }};"
            " listen-on-v6 { none; }; recursion yes; dnssec-validation no; notify no;"
            " check-integrity no; };\n"
            f"controls {{ inet 127.0.0.1 port {self.port + 1} allow {{ any; }}"
            " keys { lab; }; };\n"
            f'zone "." {{ type primary; file "{self.file}"; check-names ignore; }};\n'
        )
        return ["named", "-g", "-n", "1", "-c", str(self.work / "conf")]

    def _recursor(self, anchor: str) -> list[str]:
        (self.work / "lua").write_text(
            f'clearTA(".")\naddTA(".", "{anchor}")\nzoneToCache(".", "file", "{self.file}",'
            ' { refreshPeriod = 86400, zonemd = "require", dnssec = "require" })\n'
        )
        (self.work / "recursor.conf").write_text(
            f"daemon=no\nwrite-pid=no\ndisable-syslog=yes\nloglevel=6\nsocket-dir={self.work}\n"
            f"local-address=127.0.0.1\nlocal-port={self.port}\nsecurity-poll-suffix=\n"
            f"threads=1\ndnssec=validate\naggressive-nsec-cache-size=0\npacketcache-ttl=0\n"
            f"lua-config-file={self.work}/lua\n"
        )
        return ["pdns_recursor", f"--config-dir={self.work}"]

    def _knot(self, anchor: str) -> list[str]:
        (self.work / "conf").write_text(
            f"net.listen('127.0.0.1', {self.port}, {{ kind = 'dns' }})\n"
            f"net.listen('{self.work}/control', nil, {{ kind = 'control' }})\n"
            f"log_level('info')\ntrust_anchors.remove('.')\n"
            f"trust_anchors.add([[. DS {anchor}]])\ncache.size = 20*MB\n"
            f"dofile('{self.work}/copy.lua')\n"
        )
        (self.work / "copy.lua").write_text(
            "modules.load('prefill')\nprefill.config({['.'] = {"
            " url = 'https://127.0.0.1:8443/root.zone', interval = 86400 }})\n"
        )
        return ["kresd", "-n", "-c", str(self.work / "conf"), str(self.work)]
