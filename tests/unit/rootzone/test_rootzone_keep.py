"""The copy that is kept: always whole, never older than one that was taken before."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from rootcopy import SERIAL, Stage
from transfers import serving
from wholezone import WholeZone

from steering.errors import CommandError
from steering.observe.zone.facts import Source
from steering.observe.zone.messages import read_head
from steering.rootzone.fetch import Outcome, Result, fetch
from steering.rootzone.keep import Kept


@pytest.fixture(scope="module")
def made() -> WholeZone:
    return WholeZone(now=time.time())


@pytest.fixture
def stage(made: WholeZone, tmp_path: Path) -> Stage:
    return Stage(tmp_path, made)


def ask(stage: Stage, *sources: Source, again: bool = False) -> Result:
    with stage.kept.locked():
        return asyncio.run(
            fetch(stage.kept, sources, stage.made.anchors, stage.made.now, again=again)
        )


def test_the_copy_before_is_kept_beside_the_new_one(stage: Stage) -> None:
    stage.have(SERIAL)
    stage.have(SERIAL + 1)
    copy, before = stage.kept.copy(), read_head(stage.kept.previous)
    assert copy is not None
    assert before is not None
    assert (copy.facts.serial, before.facts.serial) == (SERIAL + 1, SERIAL)


def test_a_source_with_the_same_serial_changes_nothing(stage: Stage) -> None:
    stage.have(SERIAL)
    was = stage.kept.file.stat()
    with serving(stage.made.signed(SERIAL)) as source:
        found = ask(stage, source)
    assert found.outcome is Outcome.CURRENT
    assert stage.kept.file.stat().st_mtime_ns == was.st_mtime_ns


@pytest.mark.parametrize("serial", [SERIAL - 1, SERIAL + (1 << 31)])
def test_older_sources_are_told_from_current_ones(stage: Stage, serial: int) -> None:
    stage.have(SERIAL)
    with serving(stage.made.signed(serial)) as source:
        found = ask(stage, source)
    assert found.outcome is Outcome.OLDER
    assert not found.good


def test_a_lost_copy_does_not_let_an_older_one_in(stage: Stage) -> None:
    stage.have(SERIAL)
    stage.have(SERIAL + 1)
    stage.kept.file.unlink()
    stage.kept.previous.unlink()
    with serving(stage.made.signed(SERIAL)) as source:
        assert ask(stage, source).outcome is Outcome.OLDER
    assert stage.kept.copy() is None
    with serving(stage.made.signed(SERIAL + 1)) as source:
        assert ask(stage, source).outcome is Outcome.NEW  # the same again, as it is lost


def test_a_lost_note_does_not_let_an_older_one_in(stage: Stage) -> None:
    stage.have(SERIAL + 1)
    (stage.kept.directory / "last.json").write_text("{}")
    with serving(stage.made.signed(SERIAL)) as source:
        assert ask(stage, source).outcome is Outcome.OLDER


def test_a_spoiled_copy_is_fetched_again_by_its_serial(stage: Stage) -> None:
    stage.have(SERIAL)
    good = stage.kept.file.read_text()
    stage.kept.file.write_text(good[:900])
    with serving(stage.made.signed(SERIAL)) as source:
        assert ask(stage, source).outcome is Outcome.CURRENT
        assert ask(stage, source, again=True).outcome is Outcome.NEW
    assert len(stage.kept.file.read_text()) > 900


def test_a_newer_zone_that_is_bad_is_refused_with_the_reason(stage: Stage) -> None:
    stage.have(SERIAL)
    stranger = WholeZone(now=stage.made.now)
    with serving(stranger.signed(SERIAL + 1)) as liar, serving(stage.made.signed(SERIAL)) as source:
        found = ask(stage, source, liar)
    assert found.outcome is Outcome.REFUSED
    assert "trust anchor" in found.because
    assert found.copy is not None
    assert found.copy.facts.serial == SERIAL


def test_silence_is_told_from_refusal(stage: Stage) -> None:
    with serving(stage.made.signed(SERIAL)) as source:
        pass
    assert ask(stage, source).outcome is Outcome.SILENT


@pytest.mark.parametrize("at", range(6))
def test_a_death_at_any_step_leaves_a_whole_copy(
    stage: Stage, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.have(SERIAL)
    steps: Iterator[int] = iter(range(100))

    def dying(name: str, kind: type) -> None:
        real = getattr(kind, name)

        def step(self: Path, *rest: object, **more: object) -> object:
            if next(steps) == at:
                raise OSError(errno.EIO, "the process dies here", str(self))
            return real(self, *rest, **more)

        monkeypatch.setattr(kind, name, step)

    for name in ("hardlink_to", "replace", "unlink"):
        dying(name, Path)
    with suppress(OSError):
        stage.have(SERIAL + 1)
    monkeypatch.undo()
    copy = stage.kept.copy()
    assert copy is not None
    assert copy.facts.serial in {SERIAL, SERIAL + 1}
    with serving(stage.made.signed(SERIAL + 1)) as source:
        assert ask(stage, source).good
    after = stage.kept.copy()
    assert after is not None
    assert after.facts.serial == SERIAL + 1


def test_what_a_killed_process_left_is_not_used_and_goes(stage: Stage) -> None:
    """Its child may write on: the names differ."""
    assert Kept(stage.kept.directory).draft != Kept(stage.kept.directory).draft
    stage.kept.directory.mkdir()
    left = stage.kept.draft
    left.write_text("half of a zone")
    stage.have(SERIAL)
    assert not left.exists()
    copy = stage.kept.copy()
    assert copy is not None
    assert not list(stage.kept.directory.glob(".*"))


def test_two_processes_do_not_work_at_once(stage: Stage) -> None:
    with (
        stage.kept.locked(),
        pytest.raises(CommandError, match="another process"),
        Kept(stage.kept.directory).locked(),
    ):
        raise AssertionError


@pytest.mark.parametrize(
    "text",
    [
        "",
        "; steering\n",
        "; steering {}\n",
        "; steering {nan",
        '; steering {"facts": 1e999}\n',
        ". 1 IN SOA\n",
        "\0" * 99,
    ],
)
def test_a_file_of_others_is_no_copy(tmp_path: Path, text: str) -> None:
    file = tmp_path / "root.zone"
    file.write_text(text)
    assert read_head(file) is None
    assert read_head(tmp_path / "missing") is None
    assert read_head(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        json.dumps({"floor": "x", "last": 3, "published": []}),
        '{"floor": 1e999, "last": null, "published": {}}',
        '{"floor": 1, "last": {"time": NaN}, "published": {}}',
    ],
)
def test_a_note_that_can_not_be_read_is_no_note(stage: Stage, text: str) -> None:
    stage.kept.directory.mkdir()
    (stage.kept.directory / "last.json").write_text(text)
    assert stage.kept.note().last is None
