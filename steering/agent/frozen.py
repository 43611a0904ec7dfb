"""What a freeze holds, kept over a restart: one small file under `state`.

A freeze keeps an address where it was when the freeze began. Only the agent knows where that
was, so it writes it down whenever it changes, before anybody could need it.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path

from steering.act.lease import write_atomically


class Frozen:
    """Address -> path that is frozen, and the file it stands in."""

    def __init__(self, state: Path) -> None:
        """Reads what an agent before left. A file that can't be used holds nothing: see `trouble`.

        The address of a damaged file stays where it is now, which is what a freeze says.
        """
        self._file = state / "frozen"
        self.trouble = ""
        """What is wrong with the file; empty if nothing is."""
        self.paths: Mapping[str, str] = {}
        self._written: Mapping[str, str] | None = None
        try:
            self.paths = self._written = _read(self._file)
        except FileNotFoundError:
            self._written = {}
        except (OSError, ValueError, RecursionError) as error:
            self.trouble = f"{self._file} can't be read, so frozen addresses are not known: {error}"

    def keep(self, paths: Mapping[str, str]) -> None:
        """Have the file say this. What can't be written is a trouble, and tried again."""
        self.paths = dict(paths)
        if self.paths == self._written:
            return
        try:
            write_atomically(self._file, json.dumps(self.paths))
        except OSError as error:
            self.trouble = f"{self._file} can't be written, so a restart forgets a freeze: {error}"
        else:
            self._written, self.trouble = self.paths, ""


def _read(file: Path) -> Mapping[str, str]:
    """Raises OSError, or ValueError where it is not what `keep` writes."""
    value = json.loads(file.read_bytes())
    if not isinstance(value, dict):
        raise ValueError("it holds no mapping")  # noqa: TRY004 - the file's fault
    for address, path in value.items():
        if not isinstance(path, str) or str(ipaddress.ip_address(address)) != address:
            raise ValueError(f"{address!r} to {path!r} is no address with a path")
    return value
