"""Where the off switch and the lease are, even when the configuration is broken.

`steering off` must not hang on what it is to stop. It needs two directories, which are read
from the file on their own: by a parser that goes no further than it has to, and by their lines
where the file is no YAML or too large for one. The claim is in the lease, and only where no
lease names one is the whole configuration asked. A child does both, since whoever swaps the file
for a pipe, fills it with rubbish or breaks its file system could else hold up the switch.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from steering.model import Seconds
from steering.system.child import Child, Tell

if TYPE_CHECKING:
    from steering.act.kernel.claim import Claim

STATE, RUNTIME = Path("/var/lib/steering"), Path("/run/steering")

_READ: Seconds = 0.2
"""For reading the file: a tenth of this is usual, and the half second of `off` holds more."""
_PARSED: Seconds = 0.1
"""For parsing it, of this process's own time: a host may have other things to do."""
_ANSWERED: Seconds = 2.0  # with that, and whatever else the host has to do
_PART = 1 << 20
"""Bytes that are looked at: the agent reads no larger file (steering.config.yaml_file)."""
_WHOLE: Seconds = 10.0
"""For all of a configuration, policies included: one second is usual, more on a busy host."""
_KEYS = ("state", "runtime")
_LINE = re.compile(
    rb"(?:\A(?:\xef\xbb\xbf)?|[\r\n])(?P<key>state|runtime):"
    rb"(?:[ \t]+(?P<plain>[\w./][\w./ -]*?)[ \t]*(?=[\r\n]|[ \t]#|\Z)|[^\r\n]{0,8192})"
)
_GUARD = b"steering.act.guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The two directories, and what was wrong with the file that names them."""

    state: Path
    runtime: Path
    read: bool
    """Whether the file could be read at all."""
    trouble: str = ""


def places(config: Path) -> Places:
    """What `off` and `on` need of a configuration; never raises."""
    return asked(config)()


def asked(config: Path) -> Callable[[], Places]:
    """Begins to read the configuration; what is called waits for that.

    It takes no longer than a fifth of a second where the file does not answer, and than a tenth
    of computing where it does.
    """
    now = time.monotonic()
    child = Child(lambda tell: _search(config, tell))
    return lambda: _places(config, *child.result(now + _ANSWERED, first=now + _READ))


def _places(config: Path, said: bytes, ended: bool) -> Places:
    found = dict(map(json.loads, said.splitlines()))
    because = found.pop("trouble", "" if ended else "it does not answer in time")
    named = {key: value for key, value in found.items() if value is not None}
    state = _directory(config, named.get("state", STATE))
    runtime = _directory(config, named.get("runtime", RUNTIME))
    if None in (state, runtime):
        because = because or "a directory has no usable name"
    state, runtime = state or STATE, runtime or RUNTIME
    if not because:
        return Places(state=state, runtime=runtime, read=True)
    whose = ""
    if "runtime" not in named and (guarded := _of_the_guard()):
        runtime, whose = guarded[0], ", which is that of the guard that runs"
        state = state if "state" in named else guarded[1]
    trouble = f"{config} can't be read ({because}): using {state} and {runtime}{whose}"
    return Places(state=state, runtime=runtime, read="read" in found, trouble=trouble)


def _of_the_guard() -> tuple[Path, Path] | None:
    """Runtime and state of the one guard that runs on this host, by its command line.

    What root or this user runs, in these namespaces: in another one, the paths or the routes
    are others. Where there are two of them nobody can tell which one is meant.
    """
    guards: set[tuple[Path, Path]] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")[:-1]
            if _GUARD in words and entry.stat().st_uid in {0, os.geteuid()}:
                here, there = Path("/proc/self/ns"), entry / "ns"
                if all((here / n).readlink() == (there / n).readlink() for n in ("net", "mnt")):
                    after = words[words.index(_GUARD) + 1 :]
                    # One of version 0.1.0 names `state` as well; an option is no directory.
                    named = [Path(os.fsdecode(word)) for word in after if word.startswith(b"/")]
                    runtime, state = (*named, STATE)[:2]
                    guards.add((runtime, state))
        except (OSError, ValueError):  # it has ended meanwhile, is somebody else's, or none
            continue
    return guards.pop() if len(guards) == 1 else None


def claim(config: Path) -> Claim | None:
    """What the whole configuration says is ours; None where it can't be had; never raises."""
    said, ended = Child(lambda tell: _claim(config, tell)).result(time.monotonic() + _WHOLE)
    from steering.act.kernel.claim import Claim

    return Claim.from_json(json.loads(said)) if said and ended else None


def _claim(config: Path, tell: Tell) -> None:
    # As below: without this claim the switch holds all the same, and the lease may know one.
    try:
        from steering.agent.from_config import claim_of
        from steering.config import load

        if claimed := claim_of(load(config).config):
            tell(json.dumps(claimed.to_json()).encode())
    except Exception:  # noqa: BLE001 - see above
        return


def _search(config: Path, tell: Tell) -> None:
    """Tells what is found of the two keys; what is told later is the surer."""
    missing = set(_KEYS)

    def found(key: str, value: str | None) -> None:
        missing.discard(key)
        tell(json.dumps((key, value)).encode() + b"\n")

    # Whatever a parser, a codec or a file system makes of a broken file, the switch is thrown.
    try:
        head, tail = _ends(config)
        tell(b'["read", true]\n')
        for key, value in _by_lines(head + b"\n" + tail):
            found(key, value)
        if tail and not missing:
            return
        try:
            named: dict[str, str | None] = dict.fromkeys(_KEYS)
            for key, value in _entries(head.decode("utf-8-sig", "surrogateescape")):
                if key in named:
                    named[key] = value
                    found(key, value)
        except Exception:
            if not tail:
                raise
        else:
            for name, sure in named.items():  # a line within some other text may look like one
                found(name, sure)
        if tail and missing:
            found("trouble", f"too large: its first and last {_PART} bytes do not name both")
    except Exception as error:  # noqa: BLE001 - see above
        found("trouble", _first_line(error))


def _ends(config: Path) -> tuple[bytes, bytes]:
    """The file, or the first and the last part of one that is too large for the agent."""
    # A pipe would be waited for without end.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with os.fdopen(os.open(config, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        head = file.read(_PART)
        file.seek(max(file.tell(), status.st_size - _PART))
        return head, file.read(_PART)


def _by_lines(text: bytes) -> Iterator[tuple[str, str]]:
    """The two keys where each stands in a line of its own, whatever is around it."""
    until = time.process_time() + _PARSED
    for line in _LINE.finditer(text):
        if time.process_time() > until:  # a file that was made for it has a hundred thousand
            return
        key, plain = line["key"].decode(), line["plain"]
        try:
            if plain is not None:
                yield key, plain.decode("utf-8", "surrogateescape")
            else:
                yield from list(_entries(line[0].decode("utf-8", "surrogateescape").strip()))
        except Exception:  # noqa: BLE001, S112 - of text that is no YAML; another may still be one
            continue


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """What stands in a mapping, in order; "" for a key or a value that is no text.

    A parser's events make no tree, so no depth of it can break the stack, and a key is found
    whatever comes after it. Raises what the parser raises, ValueError where the text is no
    mapping, TimeoutError.
    """
    import yaml

    until = time.process_time() + _PARSED
    loader = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader
    depth, documents, texts = 0, 0, dict[str | None, str]()
    key: str | None = None
    for event in yaml.parse(text, Loader=loader):
        if time.process_time() > until:
            raise TimeoutError(f"takes longer than {_PARSED} s to parse")
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if not isinstance(event, yaml.NodeEvent):
            continue
        value: str = event.value if isinstance(event, yaml.ScalarEvent) else ""
        if isinstance(event, yaml.AliasEvent):
            value = texts.get(event.anchor, "")
        elif event.anchor:
            texts[event.anchor] = value
        if depth == 0:
            documents += isinstance(event, yaml.MappingStartEvent)
        elif depth == 1 and key is None:
            key = value
        elif depth == 1 and key is not None:
            yield key, value
            key = None
        depth += isinstance(event, yaml.CollectionStartEvent)
    if documents != 1:
        raise ValueError("is no mapping of keys")


def _directory(config: Path, name: object) -> Path | None:
    """Relative paths are taken from the configuration's directory, as `run` does."""
    try:
        path = Path(os.path.abspath(config)).parent / name  # type: ignore[operator]  # noqa: PTH100
        os.fsencode(path)
    except (OSError, TypeError, ValueError):  # no directory to start from, no text, no encoding
        return None
    return None if not name or "\0" in str(path) else path


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
