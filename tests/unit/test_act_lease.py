"""Leases and switches are files that may be missing, torn, old or unwritable."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_act_diff import CLAIM

from steering.act import slots
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
    del value["renewed"]  # as version 0.1.0 wrote it
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


def test_renewals_take_no_descriptor_no_room_and_no_directory(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    lease.renew(CLAIM, 60)
    before, soft = lease.path.stat(), resource.getrlimit(resource.RLIMIT_NOFILE)
    deadlines = set[float]()
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, soft[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            lease.path.open("rb")
        for seconds in range(60, 70):
            deadlines.add(lease.renew(CLAIM, seconds))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, soft)
    after = lease.path.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    assert len(deadlines) == 10
    state = lease.read()
    assert state is not None
    assert state.deadline == pytest.approx(max(deadlines), abs=1e-5)


def test_another_claim_is_another_file(tmp_path: Path) -> None:
    lease, other = Lease(tmp_path), replace(CLAIM, table=6000)
    lease.renew(CLAIM, 60)
    lease.renew(other, 60, former=[CLAIM])
    state = lease.read()
    assert state is not None
    assert state.claims == (CLAIM, other)
    lease.renew(other, 60)
    state = lease.read()
    assert state is not None
    assert state.claims == (other,)


def test_a_lease_of_version_0_1_0_is_read_and_it_reads_ours(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    deadline = lease.renew(CLAIM, 60)
    ours = json.loads(lease.path.read_text())
    assert ours["deadline"] == deadline, "its guard looks here until it is replaced"
    del ours["renewed"]
    lease.path.write_text(json.dumps(ours))
    state = lease.read()
    assert state is not None
    assert (state.claim, state.deadline) == (CLAIM, deadline)


@pytest.mark.parametrize("directory", [False, True])
def test_a_lease_that_was_wiped_is_put_in_place_again(tmp_path: Path, directory: bool) -> None:
    lease = Lease(tmp_path / "run")
    lease.path.parent.mkdir()
    lease.renew(CLAIM, 60)
    if directory:
        shutil.rmtree(lease.path.parent)
    else:
        lease.path.unlink()
    assert lease.read() is None
    lease.renew(CLAIM, 60)
    assert not lease.expired()
    lease.path.unlink()
    Lease(tmp_path / "run").renew(CLAIM, -1)  # somebody else's
    lease.renew(CLAIM, 60)
    assert not lease.expired()


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=5), st.integers(0, 200), st.data())
def test_a_number_half_written_is_the_one_before_and_never_another(
    values: list[float], size: int, data: st.DataObject
) -> None:
    """A write that stops after any byte, of a writer that has renewed any number of times."""
    with tempfile.TemporaryFile() as file:
        file.write(slots.fresh(values[0]))
        file.flush()
        writer = slots.Slots(file.fileno(), 0)
        for value in values[1:]:
            writer.write(value)
        whole = os.pread(file.fileno(), slots.SIZE, 0)
        assert slots.read(whole) == pytest.approx(values[-1], abs=1e-6)
        new = data.draw(st.floats(0, 1e9))
        writer.write(new)
        written = os.pread(file.fileno(), slots.SIZE, 0)
        torn = bytearray(whole)
        changed = [at for at in range(slots.SIZE) if whole[at] != written[at]]
        for at in changed[: min(size, len(changed))]:
            torn[at] = written[at]
        found = slots.read(bytes(torn))
        assert found in {slots.read(whole), slots.read(written)}


@given(st.binary(min_size=slots.SIZE, max_size=slots.SIZE))
def test_rubbish_holds_no_number(damage: bytes) -> None:
    assert slots.read(damage) is None


def test_a_reader_beside_a_writer_never_sees_anything_else(tmp_path: Path) -> None:
    lease, seen = Lease(tmp_path), list[float]()
    first = lease.renew(CLAIM, 60)
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            state = lease.read()
            assert state is not None
            assert state.claim == CLAIM
            seen.append(state.deadline)

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        for _ in range(5_000):
            last = lease.renew(CLAIM, 60)
        ended.set()
        reader.result()
    assert seen == sorted(seen)
    assert first - 1e-5 <= seen[0] <= seen[-1] <= last + 1e-5


def test_the_switch_in_force_is_the_one_in_memory(tmp_path: Path) -> None:
    switch = OffSwitch(state=tmp_path / "state", runtime=tmp_path / "runtime")
    assert not switch.engaged()
    assert switch.engage("ticket 4711", "noc") == ()
    (tmp_path / "state" / "off").unlink()
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
    assert OffSwitch(state=tmp_path / "state", runtime=tmp_path).engaged()


def test_a_damaged_switch_still_switches_off(tmp_path: Path) -> None:
    (tmp_path / "off").write_bytes(b"\xff")
    switch = OffSwitch(state=tmp_path / "state", runtime=tmp_path)
    assert switch.engaged()
    assert switch.record() is None


def test_where_no_place_can_be_written_it_says_which(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    nowhere = OffSwitch(state=tmp_path / "file" / "a", runtime=tmp_path / "file" / "b")
    troubles = nowhere.engage("test", "noc")
    for name, trouble in zip("ab", troubles, strict=True):
        assert str(tmp_path / "file" / name / "off") in str(trouble)
    assert not nowhere.engaged()
