"""Knot Resolver's Lua configuration: the module `prefill`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from steering.config.types import duration_text
from steering.resolver_settings import lua
from steering.resolver_settings.dangers import Findings, Place, same_zone

_INTERVAL: Final = 86_400
"""Seconds between two downloads if `interval` is left out, and the longest that is no danger."""


def look(file: Path, zone: str, findings: Findings) -> None:
    """Adds the dangers of this zone's copy."""
    copy: object = None
    place = Place(file=file, line=1)
    for one in lua.said(file, findings):
        match one:
            case lua.Said(name="prefill.config", values=(settings, *_), call=True):
                copy, place = settings, one.place
            case lua.Said(name="modules", values=(dict(loaded), *_), call=False):
                if "prefill" in loaded:
                    copy, place = loaded["prefill"], one.place
            case lua.Said(name="modules.unload", values=("prefill", *_)):
                copy, place = None, one.place
            case lua.Said(name="trust_anchors.set_insecure", values=(dict(names), *_)):
                if zone in names.values():
                    findings.add(
                        one.place, f'"{zone}" is insecure here: what is loaded is not validated'
                    )
    found = (
        [value for name, value in copy.items() if same_zone(str(name), zone)]
        if isinstance(copy, dict)
        else []
    )
    if not found and copy is not lua.UNKNOWN:
        findings.add(place, f'has no prefill of "{zone}": no copy is in use now')
    for value in found:
        if isinstance(value, dict):
            _of_copy(value, zone, place, findings)


def _of_copy(
    settings: Mapping[object, object], zone: str, place: Place, findings: Findings
) -> None:
    what = f'prefill "{zone}"'
    interval = settings.get("interval", _INTERVAL)
    if isinstance(interval, int | float) and interval > _INTERVAL:
        findings.add(
            place,
            f"{what}: interval is {interval}: the zone is seldom loaded anew; wanted seconds, up"
            f" to {_INTERVAL} ({duration_text(_INTERVAL)})",
        )
    url = settings.get("url")
    if url is None or (isinstance(url, str) and not url.startswith("https://")):
        said = "missing" if url is None else f'"{url}"'
        findings.add(
            place, f"{what}: url is {said}: the module does not load; wanted one with https://"
        )
