"""The copy is given to a resolver whole and proven, or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rootcopy import SERIAL, Stage
from wholezone import DAY, WholeZone

from steering.act.resolvers.driver import Kind
from steering.act.resolvers.include import Include
from steering.act.resolvers.knot import Knot
from steering.act.resolvers.powerdns import PowerDns
from steering.act.resolvers.unbound import Unbound
from steering.config.resolvers import KnotControl, PowerDnsControl, UnboundControl
from steering.config.rootzone import Publish
from steering.observe.zone import ends
from steering.rootzone.publish import Step, Target, is_published
from steering.rootzone.targets import target_of


@pytest.fixture(scope="module")
def made() -> WholeZone:
    return WholeZone(now=time.time())


@pytest.fixture
def stage(made: WholeZone, tmp_path: Path) -> Stage:
    return Stage(tmp_path, made)


def test_a_copy_is_checked_renamed_and_loaded_in_this_order(stage: Stage) -> None:
    copy = stage.have(SERIAL)
    found = stage.publish(copy, target := stage.target())
    assert found.step is Step.DONE, found
    assert stage.calls == ["check", f'reload "serial": {SERIAL}']
    assert stage.file.read_bytes() == stage.kept.file.read_bytes()
    assert stage.file.stat().st_mode & 0o777 == 0o644
    assert is_published(stage.kept, copy, target)
    assert sorted(f.name for f in stage.directory.iterdir() if f.name.startswith(".")) == []


def test_a_file_that_somebody_replaced_is_published_again(stage: Stage) -> None:
    copy = stage.have(SERIAL)
    assert stage.publish(copy, target := stage.target()).step is Step.DONE
    assert is_published(stage.kept, copy, target)
    stage.file.write_text("of a backup")
    assert not is_published(stage.kept, copy, target)


def test_a_copy_that_the_checker_refuses_is_not_put_in_place(stage: Stage) -> None:
    stage.file.write_text("before")
    found = stage.publish(stage.have(SERIAL), stage.target(check="echo line 7; exit 1"))
    assert found.step is Step.REFUSED
    assert "line 7" in found.because
    assert stage.file.read_text() == "before"
    assert stage.calls == ["check"]


def test_a_resolver_that_does_not_load_it_gets_the_file_before_back(stage: Stage) -> None:
    first = stage.have(SERIAL)
    assert stage.publish(first, stage.target()).step is Step.DONE
    before = stage.file.read_bytes()
    second = stage.have(SERIAL + 1)
    # Loads what it had, and nothing else.
    only = f"grep -q '\"serial\": {SERIAL},' {stage.file}"
    found = stage.publish(second, target := stage.target(reload=only))
    assert found.step is Step.TAKEN_BACK
    assert stage.file.read_bytes() == before
    assert stage.calls[-2:] == [f'reload "serial": {SERIAL + 1}', f'reload "serial": {SERIAL}']
    assert not is_published(stage.kept, second, target)


def bad_answers(stage: Stage, monkeypatch: pytest.MonkeyPatch, found: ends.Missing) -> Target:
    """A resolver that answers from its first copy; then, when it is asked for its ends, so."""
    assert stage.publish(stage.have(SERIAL), stage.target()).step is Step.DONE

    async def missing(*_: object, **__: object) -> ends.Missing:
        return found

    monkeypatch.setattr(ends, "missing", missing)
    return stage.target(port=9)


WRONG = ends.Missing(problems=("tld00011. DS: NXDOMAIN, wanted NOERROR",), silent=False)


def test_a_resolver_that_answers_from_half_a_zone_gets_the_file_before_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = bad_answers(stage, monkeypatch, WRONG)
    before = stage.file.read_bytes()
    found = stage.publish(stage.have(SERIAL + 1), target)
    assert found.step is Step.TAKEN_BACK
    assert "does not answer from the whole zone" in found.because
    assert stage.file.read_bytes() == before


def test_a_file_before_that_is_not_good_now_does_not_come_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = bad_answers(stage, monkeypatch, WRONG)
    stage.file.write_text(_spoiled(stage.file.read_text(), "wrong digest", random.Random(5)))
    found = stage.publish(stage.have(SERIAL + 1), target)
    assert found.step is Step.STUCK
    assert "ZONEMD" in found.because
    assert stage.file.read_bytes() == stage.kept.file.read_bytes()


def test_silence_never_means_that_the_file_is_bad(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stage.publish(stage.have(SERIAL), stage.target()).step is Step.DONE
    monkeypatch.setattr(ends, "PAUSE", 0.01)
    copy = stage.have(SERIAL + 1)
    # Nothing listens at that port.
    found = stage.publish(copy, target := stage.target(port=9))
    assert found.step is Step.UNHEARD, found
    assert not found.good
    assert stage.file.read_bytes() == stage.kept.file.read_bytes()
    assert not is_published(stage.kept, copy, target), "it is tried again"


def test_a_knot_that_does_not_say_whether_it_is_out_is_not_reloaded(stage: Stage) -> None:
    """To reload it is to run what its copy is configured by."""
    stage.out = None
    copy = stage.have(SERIAL)
    found = stage.publish(copy, target := replace(stage.target(), kind=Kind.KNOT))
    assert found.step is Step.UNHEARD
    assert stage.calls == ["check"]
    assert not is_published(stage.kept, copy, target)
    assert stage.publish(copy, stage.target()).step is Step.DONE, "others need not say it"


def test_an_agent_that_is_switched_off_meanwhile_goes_no_further(stage: Stage) -> None:
    copy = stage.have(SERIAL)
    off = stage.publish(copy, replace(stage.target(), may_act=lambda: False))
    assert off.step is Step.REFUSED
    assert not stage.file.exists()
    answers = iter([True, False])
    off = stage.publish(copy, replace(stage.target(), may_act=lambda: next(answers)))
    assert off.step is Step.PLACED
    assert stage.calls == ["check", "check"]


@pytest.mark.parametrize(
    ("control", "said", "out"),
    [
        ("pdns_recursor", None, True),
        ("unbound", None, True),
        ("unbound", False, False),
        ("knot_resolver", None, True),
        ("knot_resolver", False, True),
    ],
)
def test_a_copy_whose_configuration_was_taken_away_is_out(
    control: str, said: bool | None, out: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    include = tmp_path / "copy.conf"
    include.write_text("the operator's")
    kinds = {
        "pdns_recursor": PowerDnsControl(include=include),
        "unbound": UnboundControl(include=include),
        "knot_resolver": KnotControl(include=include),
    }
    settings = Publish.model_validate(
        {control.replace("_", "-"): kinds[control], "file": tmp_path / "root.zone"}
    )

    async def says(*_: object) -> bool | None:
        return said

    for driver in (PowerDns, Unbound, Knot):
        monkeypatch.setattr(driver, "is_out", says)
    target = target_of("cache-1", settings)
    assert asyncio.run(run(target)) is said
    asyncio.run(Include(include, comment="--", limit=5.0).take_out())
    assert asyncio.run(run(target)) is out


def test_to_reload_a_knot_leaves_out_what_was_taken_out_just_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    include = tmp_path / "copy.lua"
    include.write_text("the operator's")
    settings = Publish.model_validate(
        {"knot-resolver": KnotControl(include=include), "file": tmp_path / "root.zone"}
    )
    ran = []

    async def runs(_: object, statements: str) -> str:
        ran.append(statements)
        return "done"

    monkeypatch.setattr(Knot, "_all", runs)
    asyncio.run(Include(include, comment="--", limit=5.0).take_out())
    out = include.read_text()

    async def reload() -> None:
        target = target_of("cache-1", settings)
        assert target.reload is not None
        await target.reload()

    asyncio.run(reload())
    assert ran == [f"dofile('{include}')"]
    assert include.read_text() == out


async def run(target: Target) -> bool | None:
    return await target.is_out()


def test_a_resolver_that_never_had_a_file_says_that_it_is_stuck(stage: Stage) -> None:
    found = stage.publish(stage.have(SERIAL), stage.target(reload="exit 1"))
    assert found.step is Step.STUCK
    assert "there was none" in found.because


def test_a_copy_that_is_out_of_the_way_gets_its_file_and_no_reload(stage: Stage) -> None:
    stage.out = True
    copy = stage.have(SERIAL)
    found = stage.publish(copy, target := stage.target(port=9))
    assert found.step is Step.PLACED
    assert stage.calls == ["check"]
    assert not is_published(stage.kept, copy, target)
    assert stage.file.read_bytes() == stage.kept.file.read_bytes()


def test_a_copy_that_was_not_renewed_for_the_soa_expire_is_not_published(stage: Stage) -> None:
    copy = stage.have(SERIAL)
    found = stage.publish(copy, stage.target(), later=copy.facts.expire + 1)
    assert found.step is Step.REFUSED
    assert not stage.file.exists()


def test_a_copy_that_was_fetched_by_a_clock_ahead_is_not_published(stage: Stage) -> None:
    """It would not get too old until that day."""
    copy = stage.have(SERIAL)
    ahead = replace(copy, verified=copy.verified + 2 * DAY)
    found = stage.publish(ahead, stage.target())
    assert found.step is Step.REFUSED
    assert "clock" in found.because
    assert not stage.file.exists()


def test_owner_and_permissions_of_the_file_stay(stage: Stage) -> None:
    stage.file.write_text("before")
    stage.file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(stage.file, 1234, 2345)
    before = stage.file.stat()
    assert stage.publish(stage.have(SERIAL), stage.target()).step is Step.DONE
    now = stage.file.stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_where_files_can_not_be_given_away_other_users_may_read_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.file.write_text("before")
    stage.file.chmod(0o640)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refused)
    if os.geteuid() == 0:
        subprocess.run(["chown", "1234:2345", str(stage.file)], check=True)
        assert stage.publish(stage.have(SERIAL), stage.target()).step is Step.DONE
        assert stage.file.stat().st_mode & 0o777 == 0o644


def test_a_link_in_the_place_of_the_file_is_not_replaced(stage: Stage) -> None:
    other = stage.directory / "other"
    other.write_text("before")
    stage.file.symlink_to(other)
    found = stage.publish(stage.have(SERIAL), stage.target())
    assert found.step is Step.REFUSED
    assert "is a link" in found.because
    assert stage.file.is_symlink()
    assert other.read_text() == "before"
    assert stage.calls == []


def test_a_clock_that_is_wrong_publishes_nothing_and_removes_nothing(stage: Stage) -> None:
    copy = stage.have(SERIAL)
    assert stage.publish(copy, stage.target()).step is Step.DONE
    for wrong in (-30 * DAY, 30 * DAY, 40 * 365 * DAY):
        assert not stage.publish(copy, stage.target(), later=wrong).good
    assert stage.file.read_bytes() == stage.kept.file.read_bytes()


def test_a_process_that_died_before_the_reload_leaves_it_to_the_next(stage: Stage) -> None:
    assert stage.publish(stage.have(SERIAL), stage.target()).step is Step.DONE
    before = stage.file.read_bytes()
    second = stage.have(SERIAL + 1)
    stage.dying = True
    with pytest.raises(RuntimeError, match="dies here"):
        stage.publish(second, stage.target())
    stage.dying = False
    assert not is_published(stage.kept, second, stage.target())
    # The next one finds the new file in place, and still knows the one before.
    only = f"grep -q '\"serial\": {SERIAL},' {stage.file}"
    assert stage.publish(second, stage.target(reload=only)).step is Step.TAKEN_BACK
    assert stage.file.read_bytes() == before
    assert stage.publish(second, stage.target()).step is Step.DONE


def _spoiled(text: str, how: str, rng: random.Random) -> str:
    head, *lines = text.splitlines()
    if how == "unknown mnemonic":
        lines.insert(rng.randrange(len(lines)), "tld00003.\t86400\tIN\tNEWTYPE\t1")
    elif how == "wrong digest":
        at = next(n for n, line in enumerate(lines) if "\tZONEMD\t" in line and "RRSIG" not in line)
        lines[at] = lines[at][:-1] + ("0" if lines[at][-1] != "0" else "1")
    return "\n".join((head, *lines, ""))


@pytest.mark.parametrize("how", ["unknown mnemonic", "wrong digest"])
def test_a_spoiled_copy_is_not_published(stage: Stage, how: str) -> None:
    copy = stage.have(SERIAL)
    text = stage.kept.file.read_text()
    stage.kept.file.write_text(_spoiled(text, how, random.Random(5)))
    assert stage.kept.copy() == copy  # its first line still says that it is good
    found = stage.publish(copy, stage.target())
    assert found.step is Step.SPOILED, found
    assert not stage.file.exists()
    assert stage.calls == []


def test_a_copy_with_an_expired_signature_is_not_published(stage: Stage) -> None:
    copy = stage.have(SERIAL, life=2 * DAY)
    assert copy.facts.expires is not None
    assert copy.best_before() == copy.facts.expires
    found = stage.publish(copy, stage.target(), later=copy.facts.expires - stage.made.now + 1)
    assert found.step is Step.SPOILED
    assert "expired" in found.because
    assert not stage.file.exists()


def test_a_directory_that_can_not_be_written_is_told(stage: Stage) -> None:
    missing = replace(stage.target(), file=stage.directory / "no" / "served.zone")
    found = stage.publish(stage.have(SERIAL), missing)
    assert found.step is Step.REFUSED
    assert "No such file" in found.because
