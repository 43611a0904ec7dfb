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
from claims import CLAIM
from hypothesis import given
from hypothesis import strategies as st

from steering.act import slots
from steering.act.lease import Lease, LeaseState, boot_id, boot_time, leased
from steering.act.off_switch import OffSwitch


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


def test_a_directory_is_leased_while_its_lease_can_be_read_and_runs(tmp_path: Path) -> None:
    assert not leased(tmp_path)
    lease = Lease(tmp_path)
    lease.renew(CLAIM, 60.0)
    assert leased(tmp_path)
    lease.renew(CLAIM, -1.0)
    assert not leased(tmp_path)
    lease.close()
    lease.path.unlink()
    lease.path.mkdir()
    assert not leased(tmp_path)


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


def test_masks_are_kept_beside_claims_that_version_0_1_0_reads(tmp_path: Path) -> None:
    """Its guard is there for a moment yet, and takes all back for a claim that it can't read."""
    lease = Lease(tmp_path)
    claim, former = replace(CLAIM, mark=0x40, mask=0x7F), replace(CLAIM, mark=0x100, mask=0xF00)
    lease.renew(claim, 60, former=[former, CLAIM])
    state = lease.read()
    assert state is not None
    assert (state.claim, state.former) == (claim, (former, CLAIM))
    written = json.loads(lease.path.read_text())
    for text in (written["claim"], *written["former"]):
        assert set(json.loads(text)) == {
            *("table", "protocol", "priority", "mark", "sites", "next_hops", "transit_interfaces")
        }
    del written["masks"]
    lease.path.write_text(json.dumps(written))
    state = lease.read()
    assert state is not None
    assert state.claim == replace(claim, mask=2**32 - 1)


@pytest.mark.parametrize("masks", [None, 127, [127], [127, 127, 127], ["127", 127], [1, 127], {}])
def test_a_lease_of_other_masks_than_claims_is_damaged(tmp_path: Path, masks: object) -> None:
    lease = Lease(tmp_path)
    lease.renew(replace(CLAIM, mark=0x40, mask=0x7F), 60, former=[CLAIM])
    value = json.loads(lease.path.read_text())
    lease.path.write_text(json.dumps(value | {"masks": masks}))
    assert lease.expired()


def test_a_lease_that_was_read_while_it_was_written_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times; what is then still damaged is so, and over."""
    lease = Lease(tmp_path)
    lease.renew(CLAIM, 30)
    whole = lease.path.read_bytes()
    for torn, expired in ((1, False), (2, False), (3, True)):
        reads = [whole[:-40]] * torn + [whole] * 3
        monkeypatch.setattr(Path, "read_bytes", lambda _path, reads=reads: reads.pop(0))
        assert lease.expired() == expired
        assert len(reads) == max(torn, 2) if not expired else 3


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


@pytest.mark.timeout(60)
def test_what_is_kept_is_synced_with_its_name_and_the_directories_that_were_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the calls it takes: what a power cut makes of their absence is tried in a lab."""
    log = tmp_path / "synced"
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        with log.open("a") as file:
            file.write(f"{Path(f'/proc/self/fd/{descriptor}').readlink()}\n")

    monkeypatch.setattr(os, "fsync", fsync)
    state = tmp_path / "a" / "state"
    switch = OffSwitch(state=state, runtime=tmp_path / "run")
    assert switch.engage("ticket 4711", "noc") == ()
    synced = log.read_text().splitlines()
    assert synced[:2] == [str(tmp_path), str(tmp_path / "a")]
    assert synced[2].startswith(str(state / ".off.")), "the file, before it has its name"
    assert synced[3:] == [str(state)]
    log.unlink()
    assert switch.release()
    assert log.read_text().splitlines() == [str(state)]
    log.unlink()
    assert not switch.release()
    assert log.read_text().splitlines() == [str(state)], "whoever removed it may have died then"


def test_what_could_not_be_switched_on_stays_off(tmp_path: Path) -> None:
    switch = OffSwitch(state=tmp_path / "state", runtime=tmp_path / "run")
    (tmp_path / "state" / "off" / "x").mkdir(parents=True)  # no file, and not to be removed
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "off").write_text("{}")
    with pytest.raises(IsADirectoryError):
        switch.release()
    assert (tmp_path / "run" / "off").exists(), "what is in force goes last"


def test_a_switch_of_any_size_or_kind_is_read_without_waiting(tmp_path: Path) -> None:
    switch = OffSwitch(state=tmp_path / "state", runtime=tmp_path)
    os.mkfifo(tmp_path / "off")
    assert switch.engaged()
    assert switch.record() is None
    (tmp_path / "off").unlink()
    (tmp_path / "off").write_text('{"time": 0, "by": "x", "reason": "%s"}' % ("x" * 1_000_000))
    assert switch.record() is None


@pytest.mark.parametrize("throw", [True, False])
def test_one_place_that_is_not_there_costs_nothing(tmp_path: Path, *, throw: bool) -> None:
    switch = OffSwitch(state=tmp_path / "state", runtime=tmp_path / "run")
    if throw:
        switch.engage("r", "noc")
        (tmp_path / "state" / "off").unlink()
        (tmp_path / "state").rmdir()
    assert switch.release() is throw
    assert not switch.engaged()


@pytest.mark.parametrize(
    "text", ['{"time": 1%s, "by": "", "reason": ""}' % ("0" * 400), "[" * 100_000, "null", "\0"]
)
def test_a_switch_that_says_what_nobody_can_read_is_off_all_the_same(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "off").write_text(text)
    switch = OffSwitch(state=tmp_path / "state", runtime=tmp_path)
    assert switch.engaged()
    assert switch.record() is None


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        DEEP,
        "[]",
        "7",
        "{}",
        {"deadline": None},
        {"deadline": "soon"},
        {"deadline": 10**400},
        {"renewed": 7},
        {"renewed": None},
        {"claim": "{}"},
        {"claim": DEEP},
        {"claim": None},
        {"claim": 7},
        {"masks": []},
        {"masks": [1, 2]},
        {"masks": [True]},
        {"masks": 7},
        {"former": ["{}"]},
        {"pid": "me"},
        {"pid": None},
        {"pid": float("inf")},
    ],
    ids=lambda damage: str(damage)[:20],
)
def test_a_damaged_lease_is_over_in_whichever_way_it_is_damaged(
    tmp_path: Path, damage: str | dict[str, object]
) -> None:
    lease = Lease(tmp_path)
    lease.renew(CLAIM, 60.0)
    if isinstance(damage, str):
        lease.path.write_text(damage)
    else:
        value = json.loads(lease.path.read_text())
        if "deadline" in damage:
            del value["renewed"]  # as version 0.1.0 wrote it
        lease.path.write_text(json.dumps(value | damage))
    assert lease.read() == LeaseState(claim=None, boot="", deadline=0.0, pid=0)
    assert lease.expired()
    Lease(tmp_path).renew(CLAIM, 60.0)
    assert not lease.expired(), "the next agent writes it anew"


@pytest.mark.parametrize(
    "text",
    [
        *("{", DEEP, "[]", "7", "null", "{}"),
        '{"time": "noon", "by": "a", "reason": ""}',
        '{"time": ' + 400 * "9" + ', "by": "a", "reason": ""}',
        '{"time": null, "by": 1, "reason": 2}',
    ],
    ids=lambda text: text[:20],
)
def test_a_switch_with_any_text_is_off_and_says_nothing_of_whom(tmp_path: Path, text: str) -> None:
    switch = OffSwitch(state=tmp_path / "state", runtime=tmp_path)
    switch.engage("maintenance", "noc")
    record = switch.record()
    assert record is not None
    assert (record.by, record.reason) == ("noc", "maintenance")
    (tmp_path / "off").write_text(text)
    assert switch.engaged()
    assert switch.record() is None
    (tmp_path / "off").unlink()
    assert switch.record() is None
    assert not switch.engaged()
