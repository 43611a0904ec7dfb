"""The files that pages are made of, read once: style, our script, and uPlot with its licence."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

from steering.report.http.ipc import Answer

_FILES: Final = {
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "uplot.css": ("uPlot.min.css", "text/css; charset=utf-8"),
    "uplot.js": ("uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    "uplot.txt": ("uPlot.LICENSE", "text/plain; charset=utf-8"),
}
"""Name in a URL -> file, and its type."""


@functools.cache
def files() -> Mapping[str, Answer]:
    """Path in a URL -> the answer. Raises OSError where this installation has lost one."""
    folder = Path(__file__).parents[1] / "page" / "static"
    return {
        f"/static/{name}": Answer(code=HTTPStatus.OK, kind=kind, body=(folder / file).read_bytes())
        for name, (file, kind) in _FILES.items()
    }
