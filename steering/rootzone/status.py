"""What is at hand, as data and as text: the copy, the last round, and who was given it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from steering.format import duration, from_now, whole_second
from steering.model import WallTime
from steering.observe.zone.facts import Copy, ZoneFacts
from steering.rootzone.keep import Kept
from steering.rootzone.publish import Target, is_published


def data_of(kept: Kept, targets: Sequence[Target], now: WallTime) -> dict[str, Any]:
    """All that is known, for programs."""
    copy, note = kept.copy(), kept.note()
    made: dict[str, Any] = {
        "file": str(kept.file),
        "time": whole_second(now),
        "copy": None,
        "floor": note.floor,
        "last_round": None,
        "published": {t.name: copy is not None and is_published(kept, copy, t) for t in targets},
    }
    if copy is not None:
        made["copy"] = {
            **facts_data(copy.facts),
            "source": copy.source,
            "verified": whole_second(copy.verified),
            "best_before": whole_second(copy.best_before()),
            "usable": usable(copy, now),
        }
    if note.last is not None:
        made["last_round"] = {**asdict(note.last), "time": whole_second(note.last.time)}
    return made


def facts_data(facts: ZoneFacts) -> dict[str, Any]:
    """What is known of a zone, for programs."""
    made = asdict(facts)
    made["expires"] = None if facts.expires is None else whole_second(facts.expires)
    del made["ends_with"]
    return {**made, "good": facts.good}


def usable(copy: Copy, now: WallTime) -> bool:
    """Whether it may be used at this time."""
    return copy.facts.good and copy.verified <= now < copy.best_before()


def text_of(data: Mapping[str, Any], copy: Copy | None, now: WallTime) -> str:
    """The same for people."""
    lines = [f"no copy in {data['file']}"] if copy is None else list(_copy_lines(data, copy, now))
    last = data["last_round"]
    if last is None:
        lines.append("no source was asked yet")
    else:
        word = "fine" if last["good"] else "failed"
        lines.append(f"last round at {last['time']}: {word}: {last['because']}")
        for one in last["shown"]:
            serial = "no serial" if one["serial"] is None else f"serial {one['serial']}"
            because = f", {one['because']}" if one["because"] else ""
            lines.append(f"  {one['source']}: {serial}{because}")
    for name, there in data["published"].items():
        lines.append(f"{name}: {'has this copy' if there else 'does not have this copy'}")
    return "\n".join(lines)


def _copy_lines(data: Mapping[str, Any], copy: Copy, now: WallTime) -> Sequence[str]:
    word = "usable" if usable(copy, now) else "not usable"
    return (
        f"{copy.facts.zone} serial {copy.facts.serial}, {word}, in {data['file']}",
        f"  from {copy.source}, verified {from_now(copy.verified - now)}",
        f"  to be used until {data['copy']['best_before']} ({from_now(copy.best_before() - now)})",
        *(f"  {line}" for line in facts_lines(copy.facts, now)),
    )


def facts_lines(facts: ZoneFacts, now: WallTime) -> Sequence[str]:
    """What is known of a zone, for people."""
    lines = [f"{facts.records} records, {facts.octets} octets, digest {facts.digest}"]
    if facts.expires is not None:
        lines.append(
            f"first signature ends at {whole_second(facts.expires)}"
            f" ({from_now(facts.expires - now)})"
        )
    lines.append(
        f"SOA refresh {duration(facts.refresh)}, retry {duration(facts.retry)},"
        f" expire {duration(facts.expire)}"
    )
    lines.append(f"algorithms {', '.join(map(str, facts.algorithms)) or 'none'}")
    if facts.unknown_types:
        lines.append(f"types that some loader may not know: {', '.join(facts.unknown_types)}")
    return [*lines, *(f"problem: {problem}" for problem in facts.problems)]


def as_json(data: Mapping[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(data)
