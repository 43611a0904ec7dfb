"""The journal writes everything down, keeps to its room, and gives way whatever happens."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from told import note, record, simulation

from steering.journal import setups
from steering.journal import writer as writing
from steering.journal.journal import Journal
from steering.journal.reader import Checkpoint, DamagedError, Recording
from steering.journal.records import Turn, differing, digest, line, pack_state
from steering.journal.store import Store
from steering.journal.writer import Item, Writer
from steering.replay.simulate import SimulatedTurn, Simulation

DAY = 86_400.0
HOURS = 20


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return simulation(tmp_path_factory.mktemp("story"), lasts="40s")


@pytest.fixture(scope="module")
def turns(story: Simulation) -> list[SimulatedTurn]:
    return list(story)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


@pytest.fixture
def journal(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setattr(writing, "AGAIN", 0.05)
    monkeypatch.setattr(writing, "LATEST", 0.05)
    made = Journal(path, max_age=7 * DAY, max_size=1 << 28)
    yield made
    made.close(patience=30)


def read(path: Path) -> list[Checkpoint | Turn]:
    recording = Recording(path)
    try:
        return list(recording.read())
    finally:
        recording.close()


def begins(path: Path) -> list[Checkpoint]:
    return [item for item in read(path) if isinstance(item, Checkpoint)]


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not become so"
        time.sleep(0.01)


def hand_over(journal: Journal, story: Simulation, turns: list[SimulatedTurn]) -> None:
    for turned in turns:
        note(journal, story, turned)


def items(story: Simulation, turns: list[SimulatedTurn]) -> Iterator[Item]:
    """The turns as the writer gets them, each with the world before it."""
    for t in turns:
        turn = Turn(now=t.now, facts=t.facts, steps=t.steps, events=t.events, plan=digest(t.after))
        yield Item(setup=story.setup, turn=turn, before=t.before, follows=False)


def write(writer: Writer, story: Simulation, turns: list[SimulatedTurn]) -> None:
    for item in items(story, turns):
        writer.take(item)
        writer.tick()


# --- what is in it ------------------------------------------------------------------------------


def test_every_turn_is_in_it_as_it_was_after_one_checkpoint(path: Path, tmp_path: Path) -> None:
    turns = record(path, simulation(tmp_path, lasts="40s"))
    first, *rest = read(path)
    assert isinstance(first, Checkpoint)
    assert not first.follows
    assert differing(first.state, turns[0].before) is None
    assert [repr(t.facts) for t in rest if isinstance(t, Turn)] == [repr(t.facts) for t in turns]
    assert [t.events for t in rest if isinstance(t, Turn)] == [t.events for t in turns]


def test_a_turn_that_does_not_follow_begins_with_the_world_before_it(
    path: Path, journal: Journal, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    hand_over(journal, story, turns[:5])
    until(path.exists)
    hand_over(journal, story, turns[7:9])
    journal.close(patience=30)
    found = begins(path)
    assert [b.follows for b in found if b.number == 6] == [False]
    assert differing(found[-1].state, turns[7].before) is None


def test_a_world_is_put_down_every_hour(
    path: Path,
    journal: Journal,
    story: Simulation,
    turns: list[SimulatedTurn],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("steering.journal.journal.CHECKPOINT", 10.0)
    journal = Journal(path, max_age=DAY, max_size=1 << 28)
    hand_over(journal, story, turns)
    journal.close(patience=30)
    hourly = [b for b in begins(path) if b.follows]
    assert len(hourly) >= 2
    for begin in hourly:
        (turned,) = [t for t in turns if t.now == begin.now]
        assert differing(begin.state, turned.before) is None


def test_what_tells_of_something_is_on_the_disk_at_once(
    path: Path, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    loud = next(at for at, t in enumerate(turns) if t.events)
    journal = Journal(path, max_age=DAY, max_size=1 << 28)
    hand_over(journal, story, turns[: loud + 1])
    until(lambda: path.exists() and len(read_or_none(path)) > loud + 1)
    journal.close()


def read_or_none(path: Path) -> list[Checkpoint | Turn]:
    try:
        return read(path)
    except DamagedError:
        return []


def test_nobody_else_may_read_the_names_in_it(
    path: Path, journal: Journal, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    note(journal, story, turns[0])
    journal.close(patience=30)
    Store(path, max_age=DAY, max_size=1 << 28).close()
    assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}


def test_a_new_agent_writes_on_in_the_same_file(
    path: Path, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    for part in (turns[:10], turns[10:20]):
        journal = Journal(path, max_age=DAY, max_size=1 << 28)
        hand_over(journal, story, part)
        journal.close(patience=30)
    assert [b.number for b in begins(path)] == [1, 11]
    assert sum(isinstance(item, Turn) for item in read(path)) == 20


# --- its room -----------------------------------------------------------------------------------


def filled(
    path: Path, story: Simulation, turns: list[SimulatedTurn], *, max_age: float, max_size: int
) -> Store:
    """A store of so many segments, an hour each."""
    store = Store(path, max_age=max_age, max_size=max_size)
    number = store.setup(setups.write(story.setup))
    state = pack_state(turns[-1].after)
    for hour in range(HOURS):
        wall = 1e9 + hour * 3600.0
        store.checkpoint(state, setup=number, follows=hour > 0, wall=wall, now=hour * 3600.0)
        lines = [line(Turn(now=t.now, facts=t.facts, plan="")) for t in turns[:60]]
        store.append(lines, count=len(lines), wall=wall, until=wall + 3599.0)
    return store


def test_it_forgets_whole_segments_by_age(
    path: Path, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    filled(path, story, turns, max_age=5 * 3600.0, max_size=1 << 30).close()
    recording = Recording(path)
    span = recording.span()
    assert span.until - span.since < 6.5 * 3600
    assert isinstance(next(iter(recording.read())), Checkpoint)
    recording.close()


def test_it_forgets_whole_segments_by_size_and_the_file_shrinks(
    path: Path, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    room = 100_000
    filled(path, story, turns, max_age=365 * DAY, max_size=room).close()
    assert path.stat().st_size < room * 1.3
    found = begins(path)
    assert 1 < len(found) < HOURS
    assert sum(isinstance(item, Turn) for item in read(path)) == 60 * len(found)


def test_a_clock_that_jumps_ahead_for_a_moment_does_not_cost_the_journal(
    path: Path, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    store = filled(path, story, turns, max_age=365 * DAY, max_size=1 << 30)
    store.checkpoint(pack_state(turns[0].before), setup=1, follows=False, wall=4e9, now=0.0)
    store.close()
    assert len(begins(path)) >= HOURS - 2


# --- whatever happens ---------------------------------------------------------------------------


@pytest.fixture
def writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    monkeypatch.setattr(writing, "AGAIN", 0.0)
    monkeypatch.setattr("steering.journal.store.BUSY", 0.05)
    made = Writer(path, max_age=DAY, max_size=1 << 28)
    yield made
    made.close()


def because(writer: Writer) -> list[str]:
    return [event.because for event in writer.news]


def scramble(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:4096] + bytes(0x55 ^ byte for byte in raw[4096:]))


def sql(statement: str) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as base:
            base.execute(statement)

    return harm


@pytest.mark.parametrize(
    "harm",
    [
        scramble,
        lambda path: path.write_bytes(b"this is no database, and never was one\n" * 300),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        sql("PRAGMA user_version = 0"),
        sql("DROP TABLE batches"),
    ],
    ids=["bytes", "no database", "truncated", "older version", "a table gone"],
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    harm: Callable[[Path], None],
    path: Path,
    writer: Writer,
    story: Simulation,
    turns: list[SimulatedTurn],
) -> None:
    filled(path, story, turns, max_age=DAY, max_size=1 << 30).close()
    harm(path)
    before = path.read_bytes()
    write(writer, story, turns[:5])
    assert writer.trouble
    writer.close()
    (aside,) = path.parent.glob("journal.damaged-*.sqlite")
    assert aside.read_bytes()[100:4096] == before[100:4096]
    assert writer.lost <= 1
    assert any(isinstance(item, Turn) for item in read(path))
    assert "is renamed to" in because(writer)[0]


def test_only_two_damaged_files_are_kept(
    path: Path, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    path.parent.mkdir()
    for _ in range(4):
        path.write_bytes(b"no database" * 1000)
        writer = Writer(path, max_age=DAY, max_size=1 << 28)
        write(writer, story, turns[:3])
        writer.close()
    assert len(list(path.parent.glob("journal.damaged-*"))) == writing.ASIDE


def test_a_full_disk_gets_its_room_back_and_a_new_file_is_begun(
    path: Path, writer: Writer, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    write(writer, story, turns[:20])
    store = writer._store
    assert store is not None
    store._base.execute("PRAGMA max_page_count = 1")  # raised to what there is
    write(writer, story, turns[20:60])
    assert any("is removed" in text for text in because(writer))
    assert "is removed" in writer.trouble
    assert 0 < writer.lost < 10
    writer.close()
    assert begins(path)[0].number == 1  # another file


def test_where_nothing_can_be_written_it_is_tried_again_until_it_can(
    path: Path, writer: Writer, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    path.parent.write_text("a file where the directory should be")
    write(writer, story, turns[:5])
    assert writer.lost == 5
    assert "can't be written" in writer.trouble
    assert len(because(writer)) == 1  # told once
    path.parent.unlink()
    write(writer, story, turns[5:10])
    writer.close()
    assert writer.lost == 5
    assert sum(isinstance(item, Turn) for item in read(path)) == 5
    assert "written again" in because(writer)[-1]


def test_an_alarm_is_over_when_it_was_there_to_be_seen_and_writing_goes_on(
    path: Path, writer: Writer, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)
    write(writer, story, turns[:20])
    assert writer.trouble
    writer._alarm_until = 0.0
    write(writer, story, turns[20:60])
    writer.close()
    assert not writer.trouble


def test_a_file_that_another_process_writes_is_left_alone(
    path: Path, writer: Writer, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    path.parent.mkdir()
    with path.with_name("journal.sqlite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write(writer, story, turns[:3])
        assert writer.trouble.endswith("written by another process")
        assert not path.exists()
    write(writer, story, turns[3:6])
    assert writer.lost == 3


def test_a_locked_file_loses_turns_and_is_not_set_aside(
    path: Path, writer: Writer, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    write(writer, story, turns[:5])
    writer._flush()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        write(writer, story, turns[5:8])
        assert "locked" in writer.trouble
        other.execute("ROLLBACK")
    write(writer, story, turns[8:12])
    writer.close()
    assert 3 <= writer.lost <= 4
    assert not list(path.parent.glob("journal.damaged-*"))


def test_a_file_removed_under_the_writer_is_begun_anew(
    path: Path, writer: Writer, story: Simulation, turns: list[SimulatedTurn]
) -> None:
    write(writer, story, turns[:5])
    writer._flush()
    for file in path.parent.glob("journal.sqlite*"):
        file.unlink()
    write(writer, story, turns[5:9])
    writer.close()
    assert any(isinstance(item, Turn) for item in read(path))


def test_a_disk_that_hangs_costs_turns_and_no_time(
    path: Path,
    story: Simulation,
    turns: list[SimulatedTurn],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(Store, "append", lambda *_, **__: hangs.wait(30) and 0)
    monkeypatch.setattr("steering.journal.journal.QUEUED", 200)
    journal = Journal(path, max_age=DAY, max_size=1 << 28)
    began = time.monotonic()
    hand_over(journal, story, turns)
    journal.close(patience=0.1)
    assert time.monotonic() - began < 5
    assert journal.lost > 0
    assert sum(item.weight for item in journal._queue) <= 200
    hangs.set()
    journal._thread.join(30)
