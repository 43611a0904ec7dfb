"""Examples of each command, shown at the end of its help. A test types each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_STEER: Final = (
    "steering override add --name ticket-4711 --steer pao --upstream gtld-servers --for 2h"
    " --reason 'stale at Singapore'"
)

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "run": ("steering run", "steering run --config lab.yaml"),
    "check": ("steering check", "steering check --sites", "steering check --prefix-list bird"),
    "status": ("steering status", "steering status --all", "steering status --zones"),
    "explain": ("steering explain 192.5.6.30", "steering explain 192.5.6.30 --at '10m ago'"),
    "override": (
        "steering override list",
        _STEER,
    ),
    "override add": (
        _STEER,
        "steering override add --name night --freeze --all --until 06:00 --reason 'works at pao'",
        "steering override add --name no-fra --avoid fra --all --until never --reason 'is gone'",
    ),
    "override acknowledge": (
        "steering override acknowledge reach --for 2h --reason 'pao is back by noon'",
    ),
    "override extend": (
        "steering override extend ticket-4711 --for 4h",
        "steering override extend ticket-4711 --until 18:00",
    ),
    "override remove": ("steering override remove ticket-4711",),
    "override list": (
        "steering override list",
        "steering override list ticket-4711",
        "steering override list --json",
    ),
    "reload": ("steering reload",),
    "off": ("steering off --reason 'ticket 4712'",),
    "on": ("steering on",),
    "replay": (
        "steering replay --from 14:00 --to 14:20",
        "steering replay --from '2h ago' --policies new-policies",
        "steering replay --scenario july-2023.yaml",
    ),
    "rootzone": ("steering rootzone status", "steering rootzone fetch"),
    "rootzone fetch": ("steering rootzone fetch", "steering rootzone fetch --again"),
    "rootzone verify": ("steering rootzone verify", "steering rootzone verify root.zone"),
    "rootzone publish": ("steering rootzone publish", "steering rootzone publish cache-1"),
    "rootzone status": ("steering rootzone status", "steering rootzone status --json"),
    "notify": ("steering notify", "steering notify --send chat"),
    "demo": ("steering demo",),
    "help": ("steering help override add",),
    "completion": ("steering completion bash > /etc/bash_completion.d/steering",),
}
"""The words of a command -> what may be typed."""


def examples(words: str) -> str:
    """The end of a command's help: one example a line."""
    lines = "\n".join(f"  {example}" for example in EXAMPLES[words])
    return f"examples:\n{lines}"
