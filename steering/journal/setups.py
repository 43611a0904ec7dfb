"""A setup as text in the journal, and setups with other policies for a replay.

The journal has the values in force, not the files: a file may change between its loading and its
recording, and a replay needs exactly the values of the turn. Overrides are not part of a setup;
they are facts of each turn. Nor are copies of zones, which no turn looks at.
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
    """The configuration and policies as JSON, with the keys of their files."""
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

    Raises ConfigError with all problems in them, by file and line.
    """
    config = _typed(setup.config)
    config.pop("trust_anchors", None)  # not needed: recorded answers are already classified
    config["policies"] = str(directory.absolute())
    with tempfile.TemporaryDirectory(prefix="steering-replay-") as place:
        file = Path(place, "recorded-configuration.yaml")
        file.write_text(json.dumps(config), encoding="utf-8")
        return load(file)


def _typed(section: Section) -> dict[str, object]:
    return dict(section.model_dump(mode="json", by_alias=True, exclude_none=False))
