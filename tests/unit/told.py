"""Short stories for the tests of journal and replay, and the turns that come of them."""

from __future__ import annotations

from pathlib import Path

from steering.journal.journal import Journal
from steering.replay.scenario import load_scenario
from steering.replay.simulate import SimulatedTurn, Simulation

SHORT = """\
story: {name}
begins: 2026-11-24T06:00:00Z
lasts: {lasts}
site: sin
sites: {{pao: {{rtt: 20ms}}, fra: {{rtt: 30ms}}}}
answers: {answers}
probe: {{interval: 1s, fast_interval: 100ms, timeout: 1s}}
upstreams:
  - upstream: gtld
    zones: [gtld.]
    recover: {{hold: 10s, max_hold: 60s, clean: 20}}
    nameservers:
      a.gtld.example.: [192.5.0.30, "2001:db8:5::30"]
      b.gtld.example.: [192.5.1.30, "2001:db8:5::1:30"]
{more}
"""

INCIDENT = "faults: [{from: 20s, to: 40s, outcome: expired, share: 50%}]"


def written(
    place: Path, more: str = INCIDENT, *, lasts: str = "75s", answers: int = 50, name: str = "short"
) -> Path:
    """A story in a file."""
    file = place / f"{name}.yaml"
    file.write_text(SHORT.format(name=name, lasts=lasts, answers=answers, more=more))
    return file


def simulation(
    place: Path, more: str = INCIDENT, *, lasts: str = "75s", answers: int = 50
) -> Simulation:
    """A story about to be run."""
    return Simulation(load_scenario(written(place, more, lasts=lasts, answers=answers)))


def note(journal: Journal, story: Simulation, turned: SimulatedTurn) -> None:
    """Hand a turn to a journal, as the agent does."""
    journal.note(
        story.setup,
        turned.facts,
        turned.now,
        before=turned.before,
        after=turned.after,
        steps=turned.steps,
        events=turned.events,
    )


def record(path: Path, story: Simulation) -> list[SimulatedTurn]:
    """Run a story to its end, and write it down."""
    journal = Journal(path, max_age=7 * 86_400.0, max_size=1 << 28)
    turns = list(story)
    for turned in turns:
        note(journal, story, turned)
    journal.close(patience=30)
    assert (journal.lost, journal.trouble) == (0, "")
    return turns
