"""Leases and switches are files that may be missing, torn, old or unwritable."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_act_diff import CLAIM

from steering.act.lease import Lease, LeaseState, boot_id, boot_time
from steering.act.off import OffSwitch


def test_a_renewed_lease_holds_until_its_deadline(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    assert lease.expired()
    before = boot_time()
    lease.renew(CLAIM, 60)
    state = lease.read()
    assert state is not None
    assert state.claim == CLAIM
    assert before + 60 <= state.deadline <= boot_time() + 60
    assert not lease.expired()
    assert not state.expired(state.deadline - 0.001, boot_id())
    assert state.expired(state.deadline, boot_id())


def test_a_lease_of_another_boot_is_void(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    lease.renew(CLAIM, 60)
    value = json.loads(lease.path.read_text())
    lease.path.write_text(json.dumps(value | {"boot": "another"}))
    assert lease.expired()


def test_no_lease_is_none_and_not_an_error(tmp_path: Path) -> None:
    assert Lease(tmp_path).read() is None
    assert Lease(tmp_path / "nowhere").read() is None


@given(st.binary(max_size=60))
def test_damage_is_the_end_of_a_lease_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, damage: bytes
) -> None:
    lease = Lease(tmp_path_factory.getbasetemp())
    lease.path.write_bytes(damage)
    assert lease.read() == LeaseState(claim=None, boot="", deadline=0.0, pid=0)
    assert lease.expired()


@pytest.mark.parametrize("deadline", ['"x"', "null", "[]", "1e999", "NaN"])
def test_a_lease_cannot_be_made_to_last_by_a_strange_deadline(
    tmp_path: Path, deadline: str
) -> None:
    lease = Lease(tmp_path)
    lease.renew(CLAIM, 60)
    value = json.loads(lease.path.read_text())
    text = json.dumps(value | {"deadline": "DEADLINE"}).replace('"DEADLINE"', deadline)
    lease.path.write_text(text)
    assert lease.expired()


def test_the_file_is_the_owners_and_no_draft_is_left(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    for _ in range(3):
        lease.renew(CLAIM, 60)
    assert stat.S_IMODE(lease.path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [lease.path]


def test_a_failed_renewal_leaves_the_old_lease(tmp_path: Path) -> None:
    lease = Lease(tmp_path / "run")
    with pytest.raises(OSError, match="No such file"):
        lease.renew(CLAIM, 60)


@pytest.mark.parametrize("left", ["state", "runtime"])
def test_either_place_alone_switches_off(tmp_path: Path, left: str) -> None:
    switch = OffSwitch(state=tmp_path / "state", runtime=tmp_path / "runtime")
    assert not switch.engaged()
    assert switch.engage("ticket 4711", "noc") == ()
    (tmp_path / ("runtime" if left == "state" else "state") / "off").unlink()
    assert switch.engaged()
    record = switch.record()
    assert record is not None
    assert (record.by, record.reason) == ("noc", "ticket 4711")
    switch.release()
    assert not switch.engaged()
    assert switch.record() is None
    switch.release()


def test_a_switch_that_cannot_be_looked_at_counts_as_off(tmp_path: Path) -> None:
    (tmp_path / "off").symlink_to("off")  # ELOOP, for root too
    assert OffSwitch(state=tmp_path, runtime=tmp_path / "run").engaged()


def test_a_damaged_switch_still_switches_off(tmp_path: Path) -> None:
    (tmp_path / "off").write_bytes(b"\xff")
    switch = OffSwitch(state=tmp_path, runtime=tmp_path / "run")
    assert switch.engaged()
    assert switch.record() is None


def test_where_no_place_can_be_written_it_says_which(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    nowhere = OffSwitch(state=tmp_path / "file" / "a", runtime=tmp_path / "file" / "b")
    troubles = nowhere.engage("test", "noc")
    for name, trouble in zip("ab", troubles, strict=True):
        assert str(tmp_path / "file" / name / "off") in str(trouble)
    assert not nowhere.engaged()


@pytest.mark.parametrize(
    "text", ['{"time": 1%s, "by": "", "reason": ""}' % ("0" * 400), "[" * 100_000, "null", "\0"]
)
def test_a_switch_that_says_what_nobody_can_read_is_off_all_the_same(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "off").write_text(text)
    switch = OffSwitch(state=tmp_path, runtime=tmp_path / "run")
    assert switch.engaged()
    assert switch.record() is None
