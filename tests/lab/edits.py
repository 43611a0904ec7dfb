"""The files of a stage's agent, changed while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stage import Stage


def config(stage: Stage) -> Path:
    return stage.scene.config


def policy(stage: Stage) -> Path:
    return config(stage).parent / "policies" / "gtld-servers.yaml"


def edit(file: Path, change: Callable[[str], str]) -> str:
    """Change a file as a careful editor does; what it was."""
    was = file.read_text()
    now = change(was)
    assert now != was
    draft = file.with_suffix(".draft")
    draft.write_text(now)
    draft.replace(file)
    return was
