"""Runs the agent as operators do: `steering run` in a namespace, without any special mode."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steering.lab.network.sandbox import PYTHON, LabError, Program
from steering.lab.network.topology import Topology
from steering.lab.waiting import poll
from steering.model import Family, Seconds

STATUS_PORT = 9353

Answer = dict[str, Any]
"""Decoded JSON of the agent's API."""

_READY_LIMIT: Seconds = 30.0
_ANSWER_LIMIT: Seconds = 15.0
"""An agent with many addresses on a busy host takes seconds to render its status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentHost:
    """The namespace of one agent: starts it there, and asks it."""

    world: Topology
    namespace: str
    status_socket: Path | None = None
    """The local status socket to ask at, as the commands do; None: the port."""

    def start(self, config: Path, *, log: str | Path, prefix: Sequence[str] = ()) -> Program:
        """Run an agent; its events go to `log`."""
        argv = [*prefix, PYTHON, "-m", "steering", "run", "--config", str(config)]
        return self.world.start(self.namespace, argv, log=log)

    def await_ready(self, agent: Program) -> None:
        """Wait for its first round of probes. Raises LabError if it ends, or takes too long."""

        def ready() -> bool:
            if not agent.running:
                raise LabError(f"{agent.name} ended{agent.tail()}")
            try:
                return self.get("/readyz")[0] == http.client.OK
            except OSError:
                return False

        if not poll(ready, timeout=_READY_LIMIT, every=0.05):
            raise LabError(f"{agent.name} does not become ready{agent.tail()}")

    def api(self, path: str = "/api/v1/status") -> Answer:
        """One answer of its API. Raises OSError while it does not listen."""
        status, body = (
            self.get(path)
            if self.status_socket is None
            else self._get_local(self.status_socket, path)
        )
        if status != http.client.OK:
            raise LabError(f"{path}: {status} {body}")
        value: Answer = json.loads(body)
        return value

    def get(self, path: str) -> tuple[int, str]:
        """Status code and body of one HTTP request. Raises OSError while it does not listen."""
        with self.world.socket(self.namespace, Family.IPV4, socket.SOCK_STREAM) as sock:
            sock.settimeout(_ANSWER_LIMIT)
            sock.connect(("127.0.0.1", STATUS_PORT))
            return _get(sock, path)

    def _get_local(self, status_socket: Path, path: str) -> tuple[int, str]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_ANSWER_LIMIT)
            sock.connect(str(status_socket))
            return _get(sock, path)


def _get(sock: socket.socket, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", STATUS_PORT)
    connection.sock = sock
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()
