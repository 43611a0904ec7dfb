"""Where the off switch looks, and whom it asks what is ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from claims import CLAIM
from etc import ONE_SITE, place

from steering.act.kernel.claim import Claim
from steering.act.lease import Lease
from steering.act.off_switch import OffSwitch, switch_off
from steering.cli.off_paths import RUNTIME, STATE, Places, _of_the_guard, claim, places
from steering.lab.waiting import until


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return place(tmp_path, ONE_SITE)


def test_a_lease_that_names_its_claim_needs_no_configuration(config: Path) -> None:
    Lease(config.parent / "run").renew(CLAIM, 60)
    config.write_text(ONE_SITE + "nonsense: 1\n")
    found = places(config)
    assert found.trouble == ""
    assert (found.state, found.runtime) == (config.parent / "state", config.parent / "run")


@pytest.mark.parametrize("damage", ["none", "torn", "unreadable"])
def test_without_a_usable_lease_the_configuration_says_what_is_ours(
    config: Path, damage: str
) -> None:
    lease = config.parent / "run" / "lease"
    if damage == "torn":
        lease.write_text("{")
    elif damage == "unreadable":
        lease.mkdir()
    asked: list[Claim | None] = []

    def configured() -> Claim | None:
        asked.append(claim(config))
        return None

    found = places(config)
    switch_off(
        state=found.state, runtime=found.runtime, reason="r", by="noc", configured=configured
    )
    assert [c.sites for c in asked if c] == [("pao",)]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"x: [1",
        b"x: " + b"[" * 1200,
        b"x: \xff",
        b"- x",
        b"\tx: 1",
        b'x: "\\UFFFFFFFF"',
        b"x: \x07",
    ],
)
def test_the_directories_are_found_in_a_file_that_is_broken_elsewhere(
    config: Path, rubbish: bytes
) -> None:
    config.write_bytes(rubbish + b"\nstate: 'a b'  # here\nruntime: /x/run\n  state: no\n")
    found = places(config)
    assert (found.state, found.runtime) == (config.parent / "a b", Path("/x/run"))
    assert str(config) in found.trouble
    assert claim(config) is None


@pytest.mark.parametrize("name", ["[a]", '"\\0"', '"\\ud800"', "", "{a: 1}"])
def test_a_directory_that_has_no_usable_name_costs_only_itself(config: Path, name: str) -> None:
    config.write_text(f"state: {name}\nruntime: run\n")
    found = places(config)
    assert (found.state, found.runtime) == (STATE, config.parent / "run")
    assert found.trouble


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["none", "directory", "pipe", "device", "loop"])
def test_what_is_no_file_leaves_the_usual_places(
    config: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steering.cli.off_paths._of_the_guard", lambda: None)
    config.unlink()
    if kind == "directory":
        config.mkdir()
    elif kind == "pipe":
        os.mkfifo(config)
    elif kind == "device":
        config.symlink_to("/dev/zero")
    elif kind == "loop":
        config.symlink_to(config)
    found = places(config)
    assert (found.state, found.runtime, found.read) == (STATE, RUNTIME, False)
    assert str(config) in found.trouble


@pytest.mark.parametrize(
    "text",
    [
        "{state: a, site: sin, runtime: b}",
        "{\n'state': a,\n\"runtime\": b\n}",
        "\ufeffstate: a\r\nsite: sin\r\nruntime: b\r\n",
        "\ufeffruntime: b\rstate: a\r",
        "# state: x\nx: |\n  a\n\n  state: y\nstate: a # here\nruntime:   b   \n",
        "%YAML 1.1\n---\nstate: !!str a\nruntime: &r 'b'\n...\n",
        "x: &dir a\nstate: *dir\nruntime: >-\n  b\n",
        "? state\n: a\n? runtime\n: b\n",
        "x: 'q\n\nstate: y'\nstate: a\nruntime: b\n",
        "x: {state: y, runtime: z}\nruntime: b\nstate: a",
    ],
)
def test_the_directories_are_found_however_the_mapping_is_written(config: Path, text: str) -> None:
    config.write_text(text, newline="")
    found = places(config)
    assert (found.state, found.runtime) == (config.parent / "a", config.parent / "b")
    assert (found.trouble, found.read) == ("", True)


def test_what_only_looks_like_a_key_is_none(config: Path) -> None:
    config.write_text("{x: 'a\nstate: y\n', y: [1,\nruntime: z]}\n")
    assert places(config) == Places(state=STATE, runtime=RUNTIME, read=True)


_MIDDLE = b"policy:\n" + b"  - {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}\n" * 40_000


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"state: a\nruntime: b\n", b""),
        (b"state: a\n", b"runtime: b\n"),
        (b"", b"\nstate: 'a'\r\nruntime: b # at the end"),
        (b"{state: a, runtime: b, x: [\n", b"]}"),
    ],
)
def test_a_file_of_megabytes_is_not_parsed(config: Path, before: bytes, after: bytes) -> None:
    config.write_bytes(before + _MIDDLE + after)
    spent = os.times()
    found = places(config)
    assert os.times().children_user - spent.children_user < 1.0, "the parser takes ten times that"
    assert (found.state, found.runtime) == (config.parent / "a", config.parent / "b")
    assert found.trouble == ""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("made", [b"state: 'a'\n", b"x: [\n", b"{", b"\n- ", b"&a *a "])
def test_a_file_made_to_take_time_takes_no_more_than_its_share(config: Path, made: bytes) -> None:
    config.write_bytes(b"runtime: b\n" + made * ((1 << 20) // len(made) - 20))
    spent = os.times()
    found = places(config)
    assert os.times().children_user - spent.children_user < 1.0
    assert found.runtime == config.parent / "b"
    assert found.trouble


def test_a_large_file_that_names_no_directory_where_it_is_looked_at_says_so(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steering.cli.off_paths._of_the_guard", lambda: None)
    config.write_bytes(b"state: a\n" + _MIDDLE)
    found = places(config)
    assert (found.state, found.runtime) == (config.parent / "a", RUNTIME)
    assert "too large" in found.trouble


@pytest.mark.parametrize(
    ("words", "state"),
    [(["/a/run"], STATE), (["--take-over", "/a/run"], STATE), (["/a/run", "/a/state"], "/a/state")],
    ids=["this version's", "one that took over", "of version 0.1.0"],
)
def test_the_guard_that_runs_says_which_directories_where_the_file_does_not(
    config: Path, tmp_path: Path, words: list[str], state: Path
) -> None:
    config.unlink()
    elsewhere = _of_the_guard()
    code = [sys.executable, "-c", "input()", "-m", "steering.act.guard"]
    with subprocess.Popen([*code, *words], stdin=subprocess.PIPE) as guard:
        try:
            until(lambda: _of_the_guard() != elsewhere, 10)
            if elsewhere is None:
                found = places(config)
                assert (found.state, found.runtime) == (Path(state), Path("/a/run"))
                assert "of the guard that runs" in found.trouble
                config.write_text(f"runtime: {tmp_path}/b\n- x")
                assert places(config).runtime == tmp_path / "b"
        finally:
            guard.kill()


def test_the_switch_is_thrown_before_the_configuration_is_asked(config: Path) -> None:
    found = places(config)
    switch = OffSwitch(state=found.state, runtime=found.runtime)

    def dies() -> None:
        assert switch.engaged()
        raise RuntimeError("a fault in the configuration's code")

    with pytest.raises(RuntimeError):
        switch_off(state=found.state, runtime=found.runtime, reason="r", by="noc", configured=dies)
    assert switch.engaged()


def test_any_fault_in_reading_the_configuration_is_no_claim(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(_path: Path) -> None:
        raise TypeError("a fault")

    monkeypatch.setattr("steering.config.load", faulty)
    assert claim(config) is None
