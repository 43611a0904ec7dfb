"""A journal run again: the same facts give the same turns, and what differs is shown."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from told import note, record, simulation, written

from steering import cli
from steering.journal.journal import Journal
from steering.journal.reader import Checkpoint, Recording
from steering.journal.records import Turn, line, pack_batch, pack_state, unpack_batch, unpack_state
from steering.journal.store import VERSION
from steering.replay.rerun import rerun
from steering.replay.simulate import SimulatedTurn

ADDRESS = "192.5.0.30"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[SimulatedTurn]]:
    """An incident of less than a minute, with a checkpoint every ten."""
    place = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steering.journal.journal.CHECKPOINT", 10.0)
        return place / "journal.sqlite", record(
            place / "journal.sqlite", simulation(place, lasts="55s")
        )


@pytest.fixture
def journal(recorded: tuple[Path, list[SimulatedTurn]], tmp_path: Path) -> Path:
    """A copy of it, to be harmed."""
    return Path(shutil.copy(recorded[0], tmp_path / "copy.sqlite"))


def policies(place: Path, breach: str) -> Path:
    """The story's policy as a file in a directory, with other limits."""
    lines = written(place, name="policies").read_text().split("upstreams:\n")[1].splitlines()
    text = "\n".join(one[4:] for one in lines if not one.startswith("faults"))
    (place / "other").mkdir()
    (place / "other/gtld.yaml").write_text(f"{text}\nbreach: {breach}\n")
    return place / "other"


def change(journal: Path, table: str, key: str, alter: Callable[[bytes], bytes], at: int) -> None:
    """Alter the blob in one row of the file."""
    column = {"batches": "turns", "checkpoints": "world"}[table]
    with contextlib.closing(sqlite3.connect(journal)) as base, base:
        rows = base.execute(f"SELECT {key}, {column} FROM {table} ORDER BY {key}").fetchall()
        number, blob = rows[at]
        base.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (alter(blob), number))


# --- the same -------------------------------------------------------------------------------


@pytest.mark.long
def test_unchanged_policies_give_every_decision_again_and_every_checkpoint(
    recorded: tuple[Path, list[SimulatedTurn]], capsys: pytest.CaptureFixture[str]
) -> None:
    path, turns = recorded
    assert cli.main(["replay", str(path)]) == cli.FINE
    said = capsys.readouterr().out
    assert f"{len(turns)} turns: every decision is as recorded" in said
    assert [word for word in ("steered", "proved", "released") if word not in said] == []
    recording = Recording(path)
    assert sum(isinstance(item, Checkpoint) and item.follows for item in recording.read()) >= 4
    recording.close()


@pytest.mark.long
def test_the_order_of_sets_which_each_process_has_its_own_of_makes_no_difference(
    recorded: tuple[Path, list[SimulatedTurn]],
) -> None:
    for seed in ("1", "2"):
        again = subprocess.run(
            [sys.executable, "-m", "steering", "replay", recorded[0]],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert again.returncode == cli.FINE, again.stdout + again.stderr


def test_it_begins_at_the_checkpoint_before_the_time_asked_for(
    recorded: tuple[Path, list[SimulatedTurn]],
) -> None:
    path, turns = recorded
    recording = Recording(path)
    since, until = turns[-1].at - 20, turns[-1].at - 5
    walls = [again.wall for again in rerun(recording, since=since, until=until)]
    recording.close()
    assert since - 12 < walls[0] <= since
    assert until - 1 < walls[-1] <= until


def test_what_is_left_of_a_trimmed_journal_gives_the_same(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.closing(sqlite3.connect(journal)) as base, base:
        (third,) = base.execute(
            "SELECT turn FROM checkpoints ORDER BY 1 LIMIT 1 OFFSET 2"
        ).fetchone()
        base.execute("DELETE FROM checkpoints WHERE turn < ?", (third,))
        base.execute("DELETE FROM batches WHERE first < ?", (third,))
    assert cli.main(["replay", str(journal), "--json"]) == cli.FINE
    found = json.loads(capsys.readouterr().out)
    assert found["difference"] is None
    assert found["turns"] > 100
    assert any(event["event"] == "released" for event in found["events"])


@pytest.mark.long
def test_a_journal_is_read_while_it_is_written(tmp_path: Path) -> None:
    story = simulation(tmp_path, lasts="20s")
    path = tmp_path / "journal.sqlite"
    turns = list(story)
    journal = Journal(path, max_age=1e6, max_size=1 << 28)
    note(journal, story, turns[0])
    ended = threading.Event()

    def writing() -> None:
        for turned in turns[1:]:
            note(journal, story, turned)
            ended.wait(0.002)
        ended.set()

    writer = threading.Thread(target=writing)
    writer.start()
    codes = []
    while not ended.is_set():
        if path.exists() and _has_turns(path):
            codes.append(cli.main(["replay", str(path)]))
    writer.join()
    journal.close(patience=30)
    assert codes
    assert set(codes) == {cli.FINE}
    assert journal.lost == 0


def _has_turns(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        try:
            return bool(base.execute("SELECT count(*) FROM batches").fetchone()[0])
        except sqlite3.OperationalError:
            return False


# --- not the same ---------------------------------------------------------------------------


def test_the_first_decision_that_differs_is_shown_from_both_sides(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lie(blob: bytes) -> bytes:
        turns = list(unpack_batch(blob))
        return pack_batch(line(Turn(now=t.now, facts=t.facts, plan=t.plan)) for t in turns)

    with contextlib.closing(sqlite3.connect(journal)) as base:
        blobs = [b for (b,) in base.execute("SELECT turns FROM batches ORDER BY first")]
    steered = next(i for i, b in enumerate(blobs) if any(t.steps for t in unpack_batch(b)))
    change(journal, "batches", "first", lie, steered)
    assert cli.main(["replay", str(journal)]) == cli.FAILED
    said = capsys.readouterr().out
    assert "step differs from the recorded one" in said
    assert "recorded: nothing" in said
    assert "replayed: Step(address=" in said


def test_another_world_at_a_checkpoint_is_a_difference(
    journal: Path, recorded: tuple[Path, list[SimulatedTurn]], capsys: pytest.CaptureFixture[str]
) -> None:
    index = recorded[1][0].before.index

    def lie(blob: bytes) -> bytes:
        state = unpack_state(blob, index)
        known = next(known for known in state.ledger.paths.values() if known.rtt)
        known.rtt = (known.rtt or 0.0) + 1e-12
        return pack_state(state)

    change(journal, "checkpoints", "turn", lie, 2)
    assert cli.main(["replay", str(journal)]) == cli.FAILED
    assert re.search(r"ledger\.paths\[\S+ \S+\]\.rtt", capsys.readouterr().out)


# --- other policies -------------------------------------------------------------------------


def test_other_policies_are_tried_on_the_same_facts(
    recorded: tuple[Path, list[SimulatedTurn]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calm = policies(tmp_path, "{on: [timeout]}")
    assert cli.main(["replay", str(recorded[0]), "--policies", str(calm)]) == cli.FINE
    said = capsys.readouterr().out
    assert "with these policies: 0 moves" in said
    assert "as recorded: 4 moves" in said
    assert "facts are used as recorded" in said
    assert " steered " not in said.split("===")[0]


def test_wrong_policies_are_told_of_by_file_and_line(
    recorded: tuple[Path, list[SimulatedTurn]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = policies(tmp_path, "{on: [nothing]}")
    assert cli.main(["replay", str(recorded[0]), "--policies", str(wrong)]) == cli.WRONG_INPUT
    assert "gtld.yaml:7: breach.on[0]" in capsys.readouterr().err


# --- explain --at ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "way", "rule"),
    [
        ("06:00:15", "local", "healthy"),
        ("06:00:30", "fra", "steer"),
        ("06:00:52", "local", "healthy"),
    ],
)
def test_explain_says_how_it_was_at_a_time(
    at: str, way: str, rule: str, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", ADDRESS, "--at", f"2026-11-24T{at}Z", "--journal", str(journal), "--json"]
    assert cli.main(words) == cli.FINE
    found = json.loads(capsys.readouterr().out)
    assert (found["steered_to"] or "local", found["rule"]) == (way, rule)
    assert found["time"].startswith(f"2026-11-24T{at[:6]}")


@pytest.mark.parametrize(
    ("address", "at", "complaint"),
    [
        (ADDRESS, "2026-11-24 05:00", "no turn is recorded for that time"),
        (ADDRESS, "2026-11-25 05:00", "no turn is recorded for that time"),
        ("198.51.100.1", "2026-11-24 06:00:30", "was in no policy then"),
    ],
)
def test_what_was_not_recorded_is_not_explained(
    address: str, at: str, complaint: str, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", address, "--at", at, "--journal", str(journal)]
    assert cli.main(words) == cli.WRONG_INPUT
    assert complaint in capsys.readouterr().err


# --- bad input ------------------------------------------------------------------------------


def sql(statement: str) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as base, base:
            base.execute(statement)

    return harm


def flip(path: Path) -> None:
    change(path, "batches", "first", lambda b: b[:50] + bytes([b[50] ^ 1]) + b[51:], 3)


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda path: path.unlink(), "there is no such file"),
        (lambda path: path.write_bytes(b""), "is no journal of steering"),
        (lambda path: path.write_bytes(b"rubbish" * 999), "is no journal of steering"),
        (lambda path: path.write_bytes(path.read_bytes()[:9000]), "copy.sqlite"),
        (sql("PRAGMA user_version = 0"), f"it is of version 0, wanted version {VERSION}"),
        (sql("PRAGMA application_id = 7"), "it is of another program"),
        (sql("DELETE FROM batches"), "there is no turn in it"),
        (sql("DELETE FROM checkpoints"), "there is nothing in it to begin from"),
        (sql("DELETE FROM setups"), "setup 1 is missing"),
        (sql("UPDATE setups SET text = 'text'"), "has a value of a wrong type"),
        (sql("UPDATE setups SET text = x'00'"), "can't be unpacked"),
        (sql("UPDATE checkpoints SET wall = 'soon'"), "it has a value of a wrong type"),
        (sql("DELETE FROM batches WHERE first = (SELECT first FROM batches LIMIT 1 OFFSET 2)"),
         "is missing"),
        (sql("UPDATE batches SET last = last + 1 WHERE first = 1"), "turns are in it"),
        (flip, "can't be unpacked"),
    ],
)  # fmt: skip
def test_a_journal_that_cannot_be_read_says_why(
    harm: Callable[[Path], None],
    complaint: str,
    journal: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    harm(journal)
    assert cli.main(["replay", str(journal)]) == cli.WRONG_INPUT
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_facts_that_the_engine_cannot_run_are_no_crash(
    journal: Path, recorded: tuple[Path, list[SimulatedTurn]], capsys: pytest.CaptureFixture[str]
) -> None:
    index = recorded[1][0].before.index

    def lie(blob: bytes) -> bytes:
        state = unpack_state(blob, index)
        for known in state.ledger.paths.values():
            known.recent = replace(known.recent, at=1e9)
        return pack_state(state)

    change(journal, "checkpoints", "turn", lie, 3)
    with contextlib.closing(sqlite3.connect(journal)) as base, base:
        base.execute("UPDATE checkpoints SET follows = 0")
    assert cli.main(["replay", str(journal)]) == cli.WRONG_INPUT
    assert "the engine can't run these facts: OverflowError" in capsys.readouterr().err


def test_a_time_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["replay", "x", "--from", "yesterday"])
    assert stopped.value.code == cli.WRONG_INPUT
    assert '"yesterday" is no time, wanted 14:20' in capsys.readouterr().err
