"""The build hook of the wheel: compiles the dnstap reader's hot path if there is a compiler.

Without a compiler the wheel is pure Python, and the build prints a warning.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Compiled(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled module, and with it the platform to the wheel's name."""

    _place: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """An editable install stays interpreted: a compiled module there would hide changes."""
        if version == "editable":
            return
        self._place = tempfile.TemporaryDirectory(prefix="steering-wheel-")
        command = [
            sys.executable,
            "scripts/compile_counter.py",
            "--into",
            self._place.name,
        ]
        built = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        if built.returncode:
            self.app.display_warning(built.stderr.strip())
            return
        for path in map(Path, built.stdout.split("\n")[:-1]):
            build_data["force_include"][str(path)] = f"steering/observe/dnstap/{path.name}"
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, *_: object) -> None:
        """Remove the compiled module: it is in the wheel now."""
        if self._place:
            self._place.cleanup()
