"""What is known of copies outlasts agent, host and clock, and a broken file breaks nothing."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from steering.agent import copies_file
from steering.agent.copies_file import NAME, CopiesFile, Known
from steering.decide.copy_course import Course, Phase, Remedy
from steering.judge.copies import Copy
from steering.model import NEVER, Health

KEY = ("root", "cache-1")


def known(**course: object) -> Known:
    now = time.monotonic()
    copy = Copy(
        health=Health.STALE,
        because="did not take 2",
        proven=now - 1000.0,
        watched=now - 5000.0,
        behind=now - 900.0,
        expire=604_800.0,
    )
    return {KEY: (copy, Course(**course))}  # type: ignore[arg-type]


def over_a_restart(state: Path, what: Known) -> tuple[Copy, Course]:
    async def both() -> Known:
        file = CopiesFile(state)
        await file.write(what)
        assert file.problem == ""
        return await CopiesFile(state).read()

    return asyncio.run(both())[KEY]


def test_an_age_goes_on_over_a_restart_of_the_agent_whatever_the_wall_clock_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = known()
    asyncio.run(CopiesFile(tmp_path).write(what))
    wrong = time.time() + 1e9
    monkeypatch.setattr(time, "time", lambda: wrong)
    copy, _ = asyncio.run(CopiesFile(tmp_path).read())[KEY]
    assert copy == what[KEY][0]


@pytest.mark.parametrize("passed", [0.0, 3600.0, -3600.0])
def test_over_a_restart_of_the_host_it_goes_on_by_wall_time_and_never_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed: float
) -> None:
    what = known()
    asyncio.run(CopiesFile(tmp_path).write(what))
    before = what[KEY][0].age(time.monotonic())
    boot = tmp_path / "boot"
    boot.write_text("another boot\n")
    monkeypatch.setattr(copies_file, "_BOOT", boot)
    now, wall = time.monotonic(), time.time()
    monkeypatch.setattr(time, "monotonic", lambda: 17.0)
    monkeypatch.setattr(time, "time", lambda: wall + passed)
    copy, _ = asyncio.run(CopiesFile(tmp_path).read())[KEY]
    assert copy.age(17.0) == pytest.approx(before + max(0.0, passed), abs=5.0)
    assert copy.behind is None  # that a newer one is there is seen anew
    assert now > 17.0


def test_what_was_begun_is_done_again_and_what_is_out_stays_known(tmp_path: Path) -> None:
    since = time.monotonic() - 50.0
    _, course = over_a_restart(
        tmp_path,
        known(
            phase=Phase.LEAVING,
            used=(Remedy.DRIVER, Remedy.COMMAND),
            tried=(Remedy.COMMAND,),
            serial=7,
            since=since,
            failed_before=frozenset({"10.0.0.53"}),
            vain=2,
        ),
    )
    assert course.since == NEVER
    assert course.used == (Remedy.DRIVER, Remedy.COMMAND)
    assert (course.serial, course.vain) == (7, 2)
    assert course.failed_before == frozenset({"10.0.0.53"})
    out = known(phase=Phase.OUT, since=since, not_before=since + 9.0, untaken=8, returns=3)
    _, course = over_a_restart(tmp_path, out)
    assert course == out[KEY][1]


def test_nothing_of_a_course_is_forgotten(tmp_path: Path) -> None:
    what = known(trouble="driver: it hangs", phase=Phase.STUCK, tried=(Remedy.DRIVER,), since=1.0)
    assert over_a_restart(tmp_path, what)[1] == what[KEY][1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1",
        "[]",
        '{"version": 2}',
        '{"version": 1, "boot": "b", "monotonic": "x", "wall": 1, "copies": []}',
        '{"version": 1, "boot": "b", "monotonic": 1, "wall": 1, "copies": [{"copy": "root"}]}',
        '{"version": 1, "boot": "b", "monotonic": 1, "wall": 1, "copies": 7}',
        "\x00\xff",
        "[" * 100_000,
    ],
    ids=range(10),
)
def test_a_damaged_file_is_told_and_not_used(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text, encoding="latin-1")
    file = CopiesFile(tmp_path)
    assert asyncio.run(file.read()) == {}
    assert "is damaged" in file.problem
    asyncio.run(file.write(known()))
    assert file.problem == ""
    assert len(json.loads((tmp_path / NAME).read_text())["copies"]) == 1


def test_no_file_is_no_problem_and_one_that_cannot_be_written_is(tmp_path: Path) -> None:
    file = CopiesFile(tmp_path / "absent")
    assert asyncio.run(file.read()) == {}
    assert file.problem == ""
    asyncio.run(file.write(known()))
    assert "can't be written" in file.problem


def test_a_disk_that_hangs_is_told_and_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[bool] = []

    def hang(*_: object, **__: object) -> None:
        while not released:
            time.sleep(0.01)

    monkeypatch.setattr(copies_file, "WITHIN", 0.05)
    monkeypatch.setattr(copies_file, "write_atomically", hang)

    async def story() -> None:
        file = CopiesFile(tmp_path)
        for _ in range(3):
            await file.write(known())
            assert "in time" in file.problem
        released.append(True)

    asyncio.run(story())
