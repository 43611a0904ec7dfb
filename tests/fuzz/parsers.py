"""Every parser that meets bytes of others, by the name that the runner knows it by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fuzz import answers, dnstap, files, settings, speaker, web, zones
from fuzz.driver import Driver

PARSERS: Final[Mapping[str, tuple[Callable[[int], Driver], int]]] = {
    "probe": (answers.Probe, 500_000),
    "second": (answers.Overheard, 500_000),
    "keys": (answers.Resolved, 500_000),
    "copies": (answers.OfCopies, 500_000),
    "transfer": (zones.Transfer, 250_000),
    "zone": (zones.ZoneText, 250_000),
    "zone-head": (zones.Head, 250_000),
    "frames": (dnstap.Walk, 1_000_000),
    "streams": (dnstap.Streams, 750_000),
    "tallies": (dnstap.Tallies, 500_000),
    "bgp": (speaker.Speaker, 750_000),
    "http": (web.Web, 500_000),
    "http-letters": (web.Wanted, 500_000),
    "lease": (files.LeaseFile, 500_000),
    "switch": (files.Switch, 500_000),
    "memory": (files.MemoryFile, 500_000),
    "copies-file": (files.CopiesJson, 250_000),
    "words": (files.Words, 500_000),
    "anchors": (files.Anchors, 500_000),
    "resolvers": (files.ResolvConf, 500_000),
    "config": (files.Configuration, 1_000_000),
    "settings": (settings.Settings, 250_000),
    "journal": (files.Journal, 250_000),
    "columns": (files.Columns, 250_000),
}
"""Name -> the driver, given a seed; and how many messages a whole run gives it."""
