"""Where the off switch and the lease are, even when the configuration is broken.

`steering off` must not hang on what it is to stop. It needs two directories, which are read
from the file on their own if need be; the claim is in the lease, and only where no lease names
one is the whole configuration asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from steering.act.lease import Lease

if TYPE_CHECKING:
    from steering.act.claim import Claim

STATE, RUNTIME = Path("/var/lib/steering"), Path("/run/steering")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The two directories, the claim where it had to be looked up, and what was wrong."""

    state: Path
    runtime: Path
    claim: Claim | None = None
    trouble: str = ""


def places(config: Path) -> Places:
    """What `off` and `on` need of a configuration; never raises."""
    try:
        value = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        return Places(
            state=STATE,
            runtime=RUNTIME,
            trouble=f"{config} can't be read ({_first_line(error)}): using {STATE} and {RUNTIME}",
        )
    named = value if isinstance(value, dict) else {}
    # Relative paths are taken from the configuration's directory, as `run` does.
    state = config.absolute().parent / str(named.get("state", STATE))
    runtime = config.absolute().parent / str(named.get("runtime", RUNTIME))
    if _names_a_claim(Lease(runtime)):
        return Places(state=state, runtime=runtime)
    return Places(state=state, runtime=runtime, claim=_claim(config))


def _names_a_claim(lease: Lease) -> bool:
    try:
        state = lease.read()
    except OSError:
        return False
    return state is not None and state.claim is not None


def _claim(config: Path) -> Claim | None:
    from steering.agent.parts import claim_of
    from steering.config import ConfigError, load

    try:
        return claim_of(load(config).config)
    except ConfigError:
        return None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
