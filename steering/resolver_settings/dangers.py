"""What is found in a resolver's files, and how they are read: within limits of size and number."""

from __future__ import annotations

import errno
import glob
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from steering.format import counted
from steering.system.files import read_regular

LARGEST = 4 << 20
"""Bytes of one file. Far beyond any resolver's configuration."""
MOST_OCTETS = 16 << 20
"""Bytes of all files of one resolver."""
MOST_FILES = 1000
"""Files of one resolver."""
DEEPEST = 20
"""Files that include each other: no resolver here allows more than a hundred, people use two."""
MOST_DANGERS = 50
"""Said of one resolver. More help nobody."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """A line of a file."""

    file: Path
    line: int  # from 1


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Danger:
    """One setting that makes a copy dangerous, or a file that can't be read."""

    place: Place
    message: str  # what is so, what follows, what is wanted

    def __str__(self) -> str:
        text = f"{self.place.file}:{self.place.line}: {self.message}"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(slots=True, kw_only=True)
class Findings:
    """What was found so far, and what is left of the limits."""

    renewed: frozenset[Path] = frozenset()
    """Files of zones that something renews."""
    found: list[Danger] = field(default_factory=list)
    _files: int = 0
    _octets: int = 0
    _open: list[Path] = field(default_factory=list)

    def add(self, place: Place, message: str) -> None:
        self.found.append(Danger(place=place, message=message))

    def sorted(self) -> tuple[Danger, ...]:
        """Each once, by file and line."""
        return tuple(sorted(set(self.found))[:MOST_DANGERS])

    @contextmanager
    def reading(self, file: Path, named: Place | None = None) -> Iterator[str | None]:
        """The text of a file, for as long as what it includes is read; None with the reason added.

        `named`: where another file includes it.
        """
        text = self._text(file, named or Place(file=file, line=1))
        self._open.append(file)
        try:
            yield text
        finally:
            self._open.pop()

    def included(self, pattern: str, folder: Path, named: Place) -> tuple[Path, ...]:
        """The files that an include names, sorted; a pattern (glob(7)) may name none."""
        whole = str(folder / pattern)
        if not glob.has_magic(whole):
            return (Path(whole),)
        found = sorted(itertools.islice(glob.iglob(whole), MOST_FILES + 1))  # noqa: PTH207 - the whole pattern
        if len(found) > MOST_FILES:
            self.add(named, f"includes more than {counted(MOST_FILES, 'file')}: they are not read")
            return ()
        return tuple(map(Path, found))

    def unrenewed(self, place: Place, file: str, folder: Path, what: str) -> None:
        """Say of a file that a copy is read from that nothing renews it, unless something does."""
        if (folder / file) not in self.renewed:
            self.add(
                place,
                f"{what}: nothing renews {file}, so its signatures run out while it is served;"
                " wanted a server to transfer it from, or `steering rootzone` to publish it",
            )

    def _text(self, file: Path, named: Place) -> str | None:
        about = "" if named.file == file else f"{file} "
        if file in self._open:
            self.add(named, f"{about}includes itself, directly or through other files")
            return None
        if len(self._open) >= DEEPEST or self._files >= MOST_FILES:
            self.add(named, f"{about}is not read: too many files include each other")
            return None
        try:
            raw = read_regular(file, min(LARGEST, MOST_OCTETS - self._octets))
        except (OSError, ValueError) as error:
            self.add(named, f"{about}{_because(error)}")
            return None
        self._files += 1
        self._octets += len(raw)
        if b"\0" in raw:
            self.add(named, f"{about}is not text")
            return None
        return raw.decode("utf-8", errors="replace")


def _because(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is not there, wanted a resolver's configuration"
    if isinstance(error, OSError) and error.errno in (errno.EINVAL, errno.EFBIG):
        return f"{error.strerror}, wanted a resolver's configuration"
    return f"cannot be read ({error.strerror if isinstance(error, OSError) else error})"


def same_zone(text: str, zone: str) -> bool:
    """Whether a name in a configuration is this zone (absolute, lower case)."""
    return f"{text.strip().rstrip('.').lower()}." == zone
