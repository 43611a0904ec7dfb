"""Makes sockets in another network namespace for this process.

A socket keeps the network namespace it was made in. So a small process inside makes sockets on
request and passes them out over a UNIX socket (SCM_RIGHTS, unix(7)); the caller can use a namespace
that it never entered.
"""

from __future__ import annotations

import socket
import struct
import sys

from steering.lab.network.sandbox import PYTHON, LabError, Sandbox
from steering.model import Family

_REQUEST = struct.Struct("!iiI")  # family, kind, mark


class SocketFactory:
    """Makes sockets in one namespace. Raises LabError if its process does not start."""

    def __init__(self, sandbox: Sandbox, namespace: str) -> None:
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(10.0)
        with theirs:
            self._program = sandbox.start(
                namespace,
                [PYTHON, "-m", "steering.lab.network.sockets", str(theirs.fileno())],
                log=f"sockets-{namespace}.log",
                pass_fds=[theirs.fileno()],
            )

    def make(self, family: Family, kind: socket.SocketKind, mark: int = 0) -> socket.socket:
        """A new socket of the namespace with its SO_MARK set (0: none)."""
        number = socket.AF_INET if family is Family.IPV4 else socket.AF_INET6
        try:
            self._ours.sendall(_REQUEST.pack(number, kind, mark))
            word, descriptors, _, _ = socket.recv_fds(self._ours, 1, 1)
        except OSError as error:
            raise LabError(f"no socket from inside: {error}{self._program.tail()}") from error
        if not word:
            raise LabError(f"no socket from inside{self._program.tail()}")
        return socket.socket(fileno=descriptors[0])

    def close(self) -> None:
        """End the process inside, which ends when its request socket closes."""
        self._ours.close()


def serve(requests: socket.socket) -> None:
    """Make sockets on request until the request socket closes."""
    while request := requests.recv(_REQUEST.size, socket.MSG_WAITALL):
        family, kind, mark = _REQUEST.unpack(request)
        with socket.socket(family, kind) as made:
            if mark:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            socket.send_fds(requests, [b"s"], [made.fileno()])


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        serve(asked)
