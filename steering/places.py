"""Where the off switch and the lease are, even when the configuration is broken.

`steering off` must not hang on what it is to stop. It needs two directories, which are read
from the file on their own, and by their lines where the rest is no YAML; the claim is in the
lease, and only where no lease names one is the whole configuration asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from steering.act.claim import Claim

STATE, RUNTIME = Path("/var/lib/steering"), Path("/run/steering")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The two directories, and what was wrong with the file that names them."""

    state: Path
    runtime: Path
    trouble: str = ""


def places(config: Path) -> Places:
    """What `off` and `on` need of a configuration; never raises."""
    text, because = "", ""
    # Whatever a parser, a codec or a file system makes of a broken file, the switch is thrown.
    try:
        if not config.is_file():  # a pipe would be waited for without end
            raise FileNotFoundError("no such file")  # noqa: TRY301
        text = config.read_bytes().decode("utf-8-sig", "surrogateescape")
        named = _mapping(text)
    except Exception as error:  # noqa: BLE001 - see above
        because, named = _first_line(error), _by_lines(text)
    state = _directory(config, named.get("state", STATE))
    runtime = _directory(config, named.get("runtime", RUNTIME))
    if None in (state, runtime):
        because = because or "a directory has no usable name"
    state, runtime = state or STATE, runtime or RUNTIME
    trouble = f"{config} can't be read ({because}): using {state} and {runtime}" if because else ""
    return Places(state=state, runtime=runtime, trouble=trouble)


def claim(config: Path) -> Claim | None:
    """What the whole configuration says is ours; None where it can't be had; never raises."""
    # As above: without this claim the switch holds all the same, and the lease may know one.
    try:
        from steering.agent.parts import claim_of
        from steering.config import load

        return claim_of(load(config).config)
    except Exception:  # noqa: BLE001 - see above
        return None


def _mapping(text: str) -> Mapping[str, object]:
    # The base loader takes every scalar for text: `state: off` is a directory of that name.
    value = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes no objects
    if not isinstance(value, dict):
        raise ValueError("is no mapping of keys")  # noqa: TRY004 - what was typed is wrong
    return value


def _by_lines(text: str) -> Mapping[str, object]:
    """The two keys where each stands in a line of its own, whatever is around it."""
    found: dict[str, object] = {}
    for line in text.splitlines():
        if line.startswith(("state:", "runtime:")):
            try:
                found.update(_mapping(line))
            except (ValueError, RecursionError, yaml.YAMLError):  # the other may still be one
                continue
    return found


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
