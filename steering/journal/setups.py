"""A setup as text, and setups with other policies.

Written down are the values in force, not the files they came from: a file may change between
its reading and its recording, and a replay must know exactly what the turn knew. Overrides
are not among them, being facts of each turn.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from pydantic import ValidationError

from steering.config import Config, Policy, Setup, load
from steering.config.base import Section
from steering.journal.codec import ForeignError


def write(setup: Setup) -> str:
    """The configuration and policies as JSON, in the words of their files."""
    return json.dumps(
        {"config": _typed(setup.config), "policies": [_typed(policy) for policy in setup.policies]},
        separators=(",", ":"),
    )


def read(text: str) -> Setup:
    """The setup that was written. Raises ForeignError."""
    try:
        match json.loads(text):
            case {"config": config, "policies": [*policies]}:
                return Setup(
                    config=Config.model_validate(config),
                    policies=tuple(Policy.model_validate(policy) for policy in policies),
                )
    except (ValidationError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise ForeignError(f"the configuration can't be read: {first}") from None
    raise ForeignError("there is no configuration in it")


def with_policies(setup: Setup, directory: Path) -> Setup:
    """The same configuration with the policies of another directory.

    Raises ConfigError with all that is wrong in them, by file and line.
    """
    config = _typed(setup.config)
    config.pop("trust_anchors", None)  # answers are recorded as they were judged
    config["policies"] = str(directory.absolute())
    with tempfile.TemporaryDirectory(prefix="steering-replay-") as place:
        file = Path(place, "recorded-configuration.yaml")
        file.write_text(json.dumps(config), encoding="utf-8")
        return load(file)


def _typed(section: Section) -> dict[str, object]:
    return dict(section.model_dump(mode="json", by_alias=True, exclude_none=False))
