"""`steering replay` and `steering explain --at`: what they print, and their exit codes.

0: as recorded, or the scenario has ended. 1: a result differs from the recorded one. 2: the input
can't be used.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from steering.config import ConfigError
from steering.format import counted, duration, percent, timestamp, whole_second
from steering.journal.reader import DamagedError, Recording
from steering.model import LOCAL, Family, Seconds, WallTime
from steering.replay.incidents import STAGES, Incident, Incidents, with_moves
from steering.replay.rerun import Difference, Rerun, rerun
from steering.replay.scenario import LoadedScenario, load_scenario
from steering.replay.simulate import Simulation
from steering.replay.timeline import Timeline, incident_lines
from steering.report.log import fields
from steering.report.snapshot import Snapshot
from steering.report.status import explain
from steering.report.status_text import explain_text
from steering.report.terminal import coloured, width

FINE, DIFFERS, WRONG_INPUT = 0, 1, 2

TAKEN = (
    "With other policies the facts are used as recorded: what was measured while traffic took\n"
    "the recorded paths, the rate of probing, and what live answers showed."
)


@dataclass
class _Progress:
    """The progress, on a terminal."""

    since: WallTime
    until: WallTime
    _shown: float = field(default_factory=time.monotonic)

    def at(self, wall: WallTime) -> None:
        if sys.stderr.isatty() and time.monotonic() - self._shown > 0.5:
            self._shown = time.monotonic()
            part = (wall - self.since) / max(self.until - self.since, 1.0)
            sys.stderr.write(f"\r{percent(min(max(part, 0), 1), 0):>4}  {whole_second(wall)} ")
            sys.stderr.flush()

    def done(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")


# --- a journal ------------------------------------------------------------------------------


def replay(
    journal: Path,
    *,
    policies: Path | None = None,
    since: WallTime | None = None,
    until: WallTime | None = None,
    as_json: bool = False,
) -> int:
    """Run a journal again; the exit code."""
    try:
        recording = Recording(journal)
    except DamagedError as error:
        return _refuse(error)
    try:
        return _replayed(recording, policies, since, until, as_json=as_json)
    except (DamagedError, ConfigError) as error:
        return _refuse(error)
    finally:
        recording.close()


def _replayed(
    recording: Recording,
    policies: Path | None,
    since: WallTime | None,
    until: WallTime | None,
    *,
    as_json: bool,
) -> int:
    span = recording.span()
    timeline = Timeline(colour=coloured(sys.stdout), columns=width())
    progress = _Progress(since or span.since, until or span.until)
    now, then = Incidents(), Incidents()
    events: list[dict[str, object]] = []
    difference: tuple[WallTime, Difference] | None = None
    turns = 0
    for rerun_turn in rerun(recording, policies=policies, since=since, until=until):
        progress.at(rerun_turn.wall)
        if turns == 0:
            now.begin_at(rerun_turn.state)
            then.begin_at(rerun_turn.state)
        turns += 1
        now.add_turn(rerun_turn.events, rerun_turn.wall, rerun_turn.turn.now, rerun_turn.state)
        then.add_turn(
            rerun_turn.turn.events, rerun_turn.wall, rerun_turn.turn.now, rerun_turn.state
        )
        if since is None or rerun_turn.wall >= since:
            events += [fields(event, rerun_turn.wall) for event in rerun_turn.events if as_json]
            if not as_json:
                _print(timeline.lines(rerun_turn.events, rerun_turn.wall))
        if rerun_turn.difference is not None:
            difference = rerun_turn.wall, rerun_turn.difference
            break
    progress.done()
    if turns == 0:
        raise DamagedError(f"{recording.path}: no turn in that time")
    if as_json:
        found = {
            "turns": turns,
            "events": events,
            "incidents": [as_data(one) for one in now.all],
            **({"recorded_incidents": [as_data(one) for one in then.all]} if policies else {}),
            "difference": _difference_data(difference),
        }
        print(json.dumps(found, ensure_ascii=False))
    else:
        _print(_conclusion(now, then, difference, turns, other=policies is not None))
    return DIFFERS if difference else FINE


def _conclusion(
    now: Incidents,
    then: Incidents,
    difference: tuple[WallTime, Difference] | None,
    turns: int,
    *,
    other: bool,
) -> Iterator[str]:
    """The lines below the timeline."""
    yield ""
    yield from _incidents("with these policies" if other else "", now)
    if other:
        yield ""
        yield from _incidents("as recorded", then)
        yield ""
        yield TAKEN
    elif difference is None:
        yield f"{turns} turns: every decision is as recorded"
    else:
        wall, what = difference
        yield f"{timestamp(wall)}: {what.what} differs from the recorded one"
        yield f"  recorded: {what.recorded}"
        yield f"  replayed: {what.replayed}"


def _incidents(title: str, incidents: Incidents) -> Iterator[str]:
    moved = list(with_moves(incidents.all))
    if title:
        yield f"=== {title}: {sum(one.moves for one in moved)} moves"
    yield from incident_lines(moved)
    others = len(incidents.all) - len(moved)
    if others:
        yield f"{counted(others, 'incident')} in which nothing was moved"
    elif not moved:
        yield "no incident"


# --- a scenario -----------------------------------------------------------------------------


def scenario(file: Path, *, policies: Path | None = None, as_json: bool = False) -> int:
    """Run a scenario; the exit code."""
    try:
        loaded = load_scenario(file, policies=policies)
    except ConfigError as error:
        return _refuse(error)
    simulation, incidents = Simulation(loaded), Incidents()
    timeline = Timeline(colour=coloured(sys.stdout), columns=width())
    progress = _Progress(loaded.scenario.begins, loaded.scenario.ends)
    events: list[dict[str, object]] = []
    for turned in simulation:
        progress.at(turned.at)
        incidents.add_turn(turned.events, turned.at, turned.now, turned.after)
        events += [fields(event, turned.at) for event in turned.events if as_json]
        if not as_json:
            _print(timeline.lines(turned.events, turned.at))
    progress.done()
    if as_json:
        found = {
            "story": loaded.scenario.story,
            "events": events,
            "incidents": [as_data(one) for one in incidents.all],
            "answers": round(simulation.answers),
            "failed_share": _share(simulation.failed, simulation.answers),
            "failed_share_unsteered": _share(simulation.would_fail, simulation.answers),
        }
        print(json.dumps(found, ensure_ascii=False))
    else:
        _print(summary(loaded, simulation, incidents))
    return FINE


def summary(loaded: LoadedScenario, simulation: Simulation, incidents: Incidents) -> Iterator[str]:
    """The results of a scenario, beside those of operators by hand."""
    moved = list(with_moves(incidents.all))
    yield ""
    yield f"=== {loaded.scenario.story}"
    yield from _incidents("", incidents)
    people = loaded.scenario.people
    first = moved[0] if moved else None
    for family, by_hand in ((Family.IPV4, people.ipv4), (Family.IPV6, people.ipv6)):
        took = first.took(family) if first else None
        if by_hand is not None:
            mine = "never" if took is None else duration(took)
            yield f"{family} installed after {mine}; people: {duration(by_hand)}"
    moves = {a: sum(one.moved.get(a, 0) for one in moved) for one in moved for a in one.moved}
    most, number = max(moves.values(), default=0), counted(len(moves), "address")
    yield f"moves away: {sum(moves.values())} by {number}, {most} at most by one of them"
    if simulation.answers:
        failed, would = (
            _share(bad, simulation.answers) for bad in (simulation.failed, simulation.would_fail)
        )
        yield (
            f"failed answers to the resolvers: {percent(failed, 4)}; had nothing been steered "
            f"{percent(would, 4)}"
        )


def _share(some: float, of: float) -> float:
    return some / of if of else 0.0


# --- explain --at ---------------------------------------------------------------------------


def explain_at(journal: Path, address: str, at: WallTime, *, as_json: bool = False) -> int:
    """Explain the path of an address at a time in the journal; the exit code."""
    try:
        recording = Recording(journal)
    except DamagedError as error:
        return _refuse(error)
    last: Rerun | None = None
    try:
        for rerun_turn in rerun(recording, since=at, until=at):
            last = rerun_turn
    except DamagedError as error:
        return _refuse(error)
    finally:
        recording.close()
    if last is None or at - last.wall > _LONGEST_GAP:
        return _refuse(f"{journal}: no turn is recorded for that time")
    answer = explain(
        Snapshot(
            mode="replayed",
            state=last.state,
            installed=last.turn.facts.installed,
            alarms=last.state.alarms,
            ready=True,
            turned_at=last.turn.now,
        ),
        address,
    )
    if answer is None:
        return _refuse(f"{address} was in no policy then")
    if as_json:
        print(json.dumps(answer))
    else:
        text = explain_text(answer, columns=width(), colour=coloured(sys.stdout))
        print(f"{timestamp(last.wall)}\n{text}")
    return FINE


_LONGEST_GAP: Seconds = 60.0
"""Turns come every second: in a longer gap no agent was running."""


# --- all ------------------------------------------------------------------------------------


def as_data(incident: Incident) -> dict[str, object]:
    """One incident as JSON: times in RFC 3339, durations in seconds."""
    return {
        "upstream": incident.upstream,
        "first_bad": None if incident.first_bad is None else timestamp(incident.first_bad),
        "began": timestamp(incident.began),
        "ended": None if incident.ended is None else timestamp(incident.ended),
        "after_s": {
            stage: round(incident.first[stage] - incident.start, 3)
            for stage in STAGES
            if stage in incident.first
        },
        "installed_after_s": {
            str(family): round(took, 3)
            for family in Family
            if (took := incident.took(family)) is not None
        },
        "sites": [site for site in incident.sites if site != LOCAL],
        "moves": incident.moves,
        "moves_again": incident.repeated_moves,
        "carried_out": incident.carried_out,
    }


def _difference_data(difference: tuple[WallTime, Difference] | None) -> dict[str, str] | None:
    if difference is None:
        return None
    wall, what = difference
    return {
        "time": timestamp(wall),
        "what": what.what,
        "recorded": what.recorded,
        "replayed": what.replayed,
    }


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print(line)


def _refuse(error: object) -> int:
    lines = map(str, error.problems) if isinstance(error, ConfigError) else [f"steering: {error}"]
    for line in lines:
        print(line, file=sys.stderr)
    return WRONG_INPUT
