"""`steering reload`: what is held is shown, asked about, and passes for exactly these files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from simulation import CONFIG, policy, setup

from steering.agent import approval
from steering.agent.approval import Held
from steering.cli import reload
from steering.cli.api_client import UnreachableError
from steering.config import Listen, Setup, fingerprint


@dataclass
class Host:
    """The files, and an agent that holds them and can be asked."""

    config: Path
    setup: Setup
    alarms: list[str]
    answers: bool = True
    takes: bool = True
    """It takes up what is accepted."""

    def hold(self) -> None:
        version = approval.version_of(fingerprint(self.config))
        held = Held(
            version=version, because="would end 2 of 2 steers", changes=("a: was 1, now 2",)
        )
        approval.hold(self.config.parent, held)
        self.alarms[:] = ["config_held"]

    def status(self, _listen: Listen, _path: str) -> dict[str, object]:
        if not self.answers:
            raise UnreachableError("no agent answers")
        return {"alarms": [{"name": name, "because": f"it is {name}"} for name in self.alarms]}

    def sleep(self, _seconds: float) -> None:
        """The agent's next look, while the command waits."""
        if self.takes and approval.accepted(self.config.parent, fingerprint(self.config)):
            approval.clear(self.config.parent)
            self.alarms[:] = []

    def run(self, *, sure: bool = False) -> int:
        return reload.run(self.config, self.setup, sure=sure)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = setup(tmp_path, policy(), config=f"{CONFIG}runtime: {tmp_path}\n")
    host = Host(tmp_path / "steering.yaml", made, [])
    monkeypatch.setattr(reload, "fetch", host.status)
    monkeypatch.setattr(reload, "_WITHIN", 0.05)
    monkeypatch.setattr(reload, "_TURN", 0.05)
    monkeypatch.setattr("time.sleep", host.sleep)
    return host


Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def both() -> str:
        caught = capsys.readouterr()
        return caught.out + caught.err

    return both


def test_where_nothing_is_held_it_says_so(host: Host, said: Said) -> None:
    assert host.run() == 0
    assert "nothing is held" in said()


def test_faulty_files_are_told_in_the_agents_words(host: Host, said: Said) -> None:
    host.alarms.append("config")
    assert host.run() == 1
    assert "not in force: it is config" in said()


def test_an_agent_that_does_not_run_can_not_be_asked(host: Host, said: Said) -> None:
    host.answers = False
    assert host.run() == 1
    assert "no agent answers" in said()


def test_what_is_held_is_shown_and_passes_by_a_yes(host: Host, said: Said) -> None:
    host.hold()
    assert host.run(sure=True) == 0
    text = said()
    assert "would end 2 of 2 steers" in text
    assert "a: was 1, now 2" in text
    assert "nothing is held" in text


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_it_asks_and_takes_nothing_else_for_a_yes(
    host: Host, answer: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _text: answer)
    host.hold()
    assert host.run() == code
    assert (approval.waiting(host.config.parent) is None) is (code == 0)


def test_where_nobody_can_be_asked_nothing_passes(
    host: Host, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    host.hold()
    assert host.run() == 1
    assert "--yes" in said()
    assert approval.waiting(host.config.parent) is not None


def test_other_files_than_those_that_are_held_do_not_pass(host: Host, said: Said) -> None:
    host.hold()
    host.config.write_text(host.config.read_text() + "lease: 90s\n")
    assert host.run(sure=True) == 1
    assert "changed since" in said()
    assert approval.waiting(host.config.parent) is not None


def test_an_agent_that_does_not_take_it_up_is_missed(host: Host, said: Said) -> None:
    host.hold()
    host.takes = False
    assert host.run(sure=True) == 1
    assert "is it running?" in said()
