"""Finds the directories of the off switch and the lease, also in a faulty configuration.

`steering off` must not depend on the agent or its files. It needs two directories, which are read
from the file by themselves: by a parser that reads no further than needed, and by their lines if
the file is no YAML or too large. The claim is in the lease; only if no lease has one, the whole
configuration is read. A child process does both, since a pipe in place of the file, garbage in it
or a file system that hangs would otherwise delay the switch.
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
"""For reading the file: a tenth of this is usual, and `off` has half a second."""
_PARSED: Seconds = 0.1
"""For parsing it, in CPU time of this process: the host may be busy."""
_ANSWERED: Seconds = 2.0  # for both, on a busy host
_PART = 1 << 20
"""Bytes that are read: the agent accepts no larger file (steering.config.yaml_file)."""
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
    """The two directories, and what is wrong with the file that names them."""

    state: Path
    runtime: Path
    read: bool
    """Whether the file could be read at all."""
    trouble: str = ""


def places(config: Path) -> Places:
    """The directories that `off` and `on` need; never raises."""
    return asked(config)()


def asked(config: Path) -> Callable[[], Places]:
    """Begins to read the configuration; the result is a function that waits for the end of that.

    It takes at most 0.2 s if the file system does not answer, else 0.1 s of CPU time.
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

    It must be run by root or this user, in these namespaces: others have other paths or routes.
    With two guards it is not known which one is meant.
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
        except (OSError, ValueError):  # it has ended, or is another user's process
            continue
    return guards.pop() if len(guards) == 1 else None


def claim(config: Path) -> Claim | None:
    """The claim by the whole configuration; None if it can't be read; never raises."""
    said, ended = Child(lambda tell: _claim(config, tell)).result(time.monotonic() + _WHOLE)
    from steering.act.kernel.claim import Claim

    return Claim.from_json(json.loads(said)) if said and ended else None


def _claim(config: Path, tell: Tell) -> None:
    # As below: the switch also works without this claim, and the lease may have one.
    try:
        from steering.config import load
        from steering.from_config import claim_of

        if claimed := claim_of(load(config).config):
            tell(json.dumps(claimed.to_json()).encode())
    except Exception:  # noqa: BLE001 - see above
        return


def _search(config: Path, tell: Tell) -> None:
    """Sends what is found of the two keys; a later message replaces an earlier one."""
    missing = set(_KEYS)

    def found(key: str, value: str | None) -> None:
        missing.discard(key)
        tell(json.dumps((key, value)).encode() + b"\n")

    # Whatever error a faulty file causes in a parser, codec or file system, the switch is set.
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
    """The file, or the first and the last part if it is too large for the agent."""
    # Opening a pipe would wait without end.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with os.fdopen(os.open(config, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        head = file.read(_PART)
        file.seek(max(file.tell(), status.st_size - _PART))
        return head, file.read(_PART)


def _by_lines(text: bytes) -> Iterator[tuple[str, str]]:
    """The two keys where each has its own line, whatever is around it."""
    until = time.process_time() + _PARSED
    for line in _LINE.finditer(text):
        if time.process_time() > until:  # a hostile file may have a hundred thousand
            return
        key, plain = line["key"].decode(), line["plain"]
        try:
            if plain is not None:
                yield key, plain.decode("utf-8", "surrogateescape")
            else:
                yield from list(_entries(line[0].decode("utf-8", "surrogateescape").strip()))
        except Exception:  # noqa: BLE001, S112 - not YAML; a later line may be
            continue


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """The entries of a mapping, in order; "" for a key or a value that is no text.

    Parser events build no tree, so deep nesting can't exhaust the stack, and a key is found
    whatever comes after it. Raises what the parser raises, ValueError if the text is no mapping,
    TimeoutError.
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
