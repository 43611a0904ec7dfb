"""The memory outlives the agent, whatever happens to the file."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from simulation import setup

from steering.agent import restart_state
from steering.agent.restart_state import MOVE_WAITS, NAME, REWRITE_AFTER, RestartState
from steering.decide.state import State
from steering.engine.carry_over import recall
from steering.facts import Breaches, Memory
from steering.index import Index
from steering.judge.known.ledger import AddressRecord
from steering.judge.known.recovery import Hold
from steering.judge.open_addresses import reopened
from steering.override import Frozen
from steering.system import files

FROZEN = {
    "192.5.0.30": Frozen(path="pao", by="hands-off"),
    "2001:db8:5::30": Frozen(path="local", by="hands-off"),
}


@pytest.fixture
def blank(tmp_path: Path) -> State:
    (tmp_path / "files").mkdir()
    return State.blank(Index.of(setup(tmp_path / "files")), 1000.0, 1.7e9)


@pytest.fixture
def used(blank: State) -> State:
    """Frozen, worn and breached."""
    first, second, *_ = blank.index.settings
    hold = Hold(breaches=3, since=400.0, ended=900.0)
    ledger = reopened(
        replace(blank.ledger, addresses={second: AddressRecord(hold=hold)}), blank.index, 0.0
    )
    return replace(blank, frozen=FROZEN, worn={first: 3.0}, ledger=ledger, moves=((980.0, 2),))


def more_worn(state: State, by: float) -> State:
    return replace(state, worn={a: state.worn.get(a, 0.0) + by for a in state.index.settings})


def later(state: State, seconds: float) -> State:
    return replace(state, now=state.now + seconds, wall=state.wall + seconds)


def keep(kept: RestartState, state: State) -> None:
    """Until it is written, or was tried to be."""
    kept.save(state)
    assert kept.flush(10.0)


def test_another_agent_finds_what_this_one_kept(tmp_path: Path, used: State) -> None:
    keep(RestartState(tmp_path), used)
    found = RestartState(tmp_path)
    assert not found.problem + found.start_problem
    assert found.memory == Memory(
        at=used.wall,
        frozen=FROZEN,
        worn={used.index.targets[0].address: 3.0},
        breaches={used.index.targets[1].address: Breaches(number=3, since=600.0, ended=100.0)},
        moves=((20.0, 2),),
    )


def test_where_nothing_is_to_be_remembered_there_is_no_file(tmp_path: Path, blank: State) -> None:
    (tmp_path / "state").mkdir()
    kept = RestartState(tmp_path / "state")
    keep(kept, blank)
    keep(kept, later(blank, 2 * REWRITE_AFTER))
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize("what", ["frozen", "worn", "holds", "moves"])
def test_each_thing_to_be_remembered_is_reason_enough_for_a_file(
    tmp_path: Path, blank: State, used: State, what: str
) -> None:
    """A freeze that nothing else came with outlives a restart as well."""
    state = (
        replace(blank, ledger=used.ledger)
        if what == "holds"
        else replace(blank, **{what: getattr(used, what)})
    )
    keep(RestartState(tmp_path), state)
    found = RestartState(tmp_path).memory
    assert found is not None
    assert found != Memory(at=found.at)


def test_what_is_over_is_remembered_no_longer(tmp_path: Path, used: State, blank: State) -> None:
    kept = RestartState(tmp_path)
    keep(kept, used)
    keep(kept, blank)
    assert RestartState(tmp_path).memory == Memory(at=blank.wall)


def test_it_is_written_when_something_changed_and_once_an_hour(tmp_path: Path, used: State) -> None:
    kept, file = RestartState(tmp_path), tmp_path / NAME
    keep(kept, used)
    before = file.stat().st_ino
    keep(kept, later(used, REWRITE_AFTER - 1))
    assert file.stat().st_ino == before
    keep(kept, later(used, REWRITE_AFTER))
    assert json.loads(file.read_bytes())["at"] == used.wall + REWRITE_AFTER
    moved = later(more_worn(used, 1), REWRITE_AFTER + 1)
    keep(kept, moved)
    assert json.loads(file.read_bytes())["at"] == moved.wall


@pytest.mark.parametrize("by", [-600.0, -2.0, 2.0, 1800.0])
def test_a_clock_that_is_set_makes_no_memory_older_or_younger_than_it_is(
    tmp_path: Path, used: State, by: float
) -> None:
    kept = RestartState(tmp_path)
    keep(kept, used)
    keep(kept, replace(later(used, 1.0), wall=used.wall + 1.0 + by))
    memory = RestartState(tmp_path).memory
    assert memory is not None
    assert memory.at == used.wall + 1.0 + by


def test_a_clock_that_is_slewed_has_nothing_written_at_each_turn(
    tmp_path: Path, used: State
) -> None:
    kept, file = RestartState(tmp_path), tmp_path / NAME
    keep(kept, used)
    before = file.stat().st_ino
    for turn in range(1, 100):
        keep(kept, replace(later(used, turn), wall=used.wall + turn * 1.005))
    assert file.stat().st_ino == before


def test_a_full_disk_is_a_problem_that_passes_and_nothing_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: State
) -> None:
    def full(*_: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    kept = RestartState(tmp_path)
    monkeypatch.setattr(restart_state, "write_atomically", full)
    keep(kept, used)
    assert "No space left" in kept.problem
    assert kept.memory is not None
    assert kept.memory.frozen == FROZEN, "for a lease that is lost"
    monkeypatch.undo()
    keep(kept, used)
    assert not kept.problem
    assert RestartState(tmp_path).memory == kept.memory


class Disk:
    """A disk that hangs until the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers, self.writes = threading.Event(), 0
        self._write = files.write_atomically
        monkeypatch.setattr(restart_state, "write_atomically", self)

    def __call__(self, path: Path, text: str, *, durable: bool = False) -> None:
        self.writes += 1
        self.answers.wait()
        self._write(path, text, durable=durable)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk(monkeypatch)
    yield made
    made.answers.set()


def test_a_move_waits_for_a_disk_that_hangs_and_then_no_longer(
    tmp_path: Path, used: State, disk: Disk
) -> None:
    kept = RestartState(tmp_path)
    started = time.monotonic()
    kept.save(used)
    assert time.monotonic() - started < MOVE_WAITS, "nothing waits for what moves nothing"
    assert not kept.problem
    for turn in range(30):
        kept.save(more_worn(later(used, turn), turn), moved=True)
    assert MOVE_WAITS * 0.9 < time.monotonic() - started < 10 * MOVE_WAITS, (
        "once, and not at each move"
    )
    assert "before it was written" in kept.problem
    assert disk.writes == 1, "nothing piles up"
    disk.answers.set()
    assert kept.flush(10.0)
    assert not kept.problem
    assert disk.writes == 2, "the first and the latest"
    memory = RestartState(tmp_path).memory
    assert memory is not None
    assert memory == kept.memory


def test_a_move_is_made_when_it_is_written(
    tmp_path: Path, used: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable: list[bool] = []
    write = files.write_atomically

    def note(path: Path, text: str, **named: bool) -> None:
        durable.append(named["durable"])
        write(path, text, **named)

    monkeypatch.setattr(restart_state, "write_atomically", note)
    kept = RestartState(tmp_path)
    kept.save(used, moved=True)
    assert not kept.problem
    assert (tmp_path / NAME).exists()
    assert durable == [True], "it outlasts a power cut"


def test_a_memory_that_does_not_answer_costs_the_start_a_moment(
    tmp_path: Path, used: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(RestartState(tmp_path), used)
    answers = threading.Event()
    monkeypatch.setattr(restart_state, "READ_WITHIN", 0.1)
    monkeypatch.setattr(restart_state, "read_regular", lambda *_: answers.wait())
    started = time.monotonic()
    kept = RestartState(tmp_path)
    answers.set()
    assert time.monotonic() - started < 5.0
    assert kept.memory is None
    assert "can't be read: no answer within 0.1 s" in kept.start_problem


GOOD = {"at": 1.7e9, "worn": {"192.5.0.30": 2.0}}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\x00",
        b"[1]",
        b"{}",
        b"[" * 100_000,
        json.dumps({"at": math.nan}).encode(),
        json.dumps({"at": "yesterday"}).encode(),
        json.dumps(GOOD | {"more": 1}).encode(),
        json.dumps(GOOD | {"frozen": {"192.5.6.30": "pao"}}).encode(),
        json.dumps(GOOD | {"frozen": {"nowhere": {"path": "pao", "by": "x"}}}).encode(),
        json.dumps(GOOD | {"frozen": {"192.5.6.030": {"path": "pao", "by": "x"}}}).encode(),
        json.dumps(GOOD | {"worn": {"192.5.0.30": -1.0}}).encode(),
        json.dumps(GOOD | {"worn": {"192.5.0.30": math.inf}}).encode(),
        json.dumps(GOOD | {"at": 10**400}).encode(),
        json.dumps(GOOD | {"worn": {"192.5.0.30": 10**400}}).encode(),
        json.dumps(GOOD | {"moves": [[10**400, 5]]}).encode(),
        json.dumps(GOOD | {"moves": [[-1.0, 5]]}).encode(),
        json.dumps(GOOD | {"moves": [[1.0, -5]]}).encode(),
        json.dumps(
            GOOD | {"breaches": {"192.5.0.30": {"number": 0, "since": 1.0, "ended": 1.0}}}
        ).encode(),
    ],
)
def test_a_damaged_file_is_set_aside_and_costs_the_memory_alone(
    tmp_path: Path, damage: bytes, used: State
) -> None:
    (tmp_path / NAME).write_bytes(damage)
    kept = RestartState(tmp_path)
    assert kept.memory is None
    assert "damaged" in kept.start_problem
    assert not kept.problem, "it is over"
    assert (tmp_path / f"{NAME}.damaged").read_bytes() == damage
    keep(kept, used)
    again = RestartState(tmp_path)
    assert again.memory == kept.memory
    assert not again.start_problem


def test_a_file_that_cannot_be_read_is_a_problem_until_one_is_written(
    tmp_path: Path, blank: State
) -> None:
    (tmp_path / NAME).mkdir()
    kept = RestartState(tmp_path)
    assert kept.memory is None
    assert "can't be read" in kept.problem
    (tmp_path / NAME).rmdir()
    keep(kept, blank)
    assert not kept.problem


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from steering.agent.restart_state import RestartState
from steering.config import load
from steering.index import Index
from steering.decide.state import State
state = State.blank(Index.of(load(Path(sys.argv[1]))), 1000.0, 1.7e9)
kept = RestartState(Path(sys.argv[2]))
for number in range(1_000_000):
    kept.save(replace(state, worn=dict.fromkeys(state.index.settings, number % 7 + 1.0)))
    assert kept.flush(9.0)
    if number == 0:
        print("goes", flush=True)
"""


def test_killed_between_two_writes_it_leaves_one_or_the_other(tmp_path: Path) -> None:
    setup(tmp_path)
    state = tmp_path / "state"
    state.mkdir()
    for wait in (0.0, 0.003, 0.011):
        words = [sys.executable, "-c", WRITER, str(tmp_path / "steering.yaml"), str(state)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"goes\n"
            end = time.monotonic() + wait
            while time.monotonic() < end:
                pass
            os.kill(writer.pid, signal.SIGKILL)
        found = RestartState(state)
        assert not found.start_problem
        assert found.memory is not None
        assert len(set(found.memory.worn.values())) == 1


def test_what_no_policy_names_any_more_is_left_out(used: State, tmp_path: Path) -> None:
    keep(RestartState(tmp_path), used)
    memory = RestartState(tmp_path).memory
    assert memory is not None
    strangers = replace(
        memory,
        worn={"192.0.2.1": 1.0},
        breaches={"192.0.2.1": Breaches(number=1, since=0.0, ended=0.0)},
    )
    state, _ = recall(used, strangers)
    assert state.worn == used.worn
    assert state.ledger.addresses == used.ledger.addresses
