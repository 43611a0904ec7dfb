"""The command line: one exit code for each kind of error, and nothing imported for nothing."""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path

import pytest
from etc import ONE_SITE, place

from steering import cli
from steering.agent import loop
from steering.cli.parser import parser
from steering.errors import CannotRunError

CONFIG = f"{ONE_SITE}status: 127.0.0.1:9\ntrust_anchors: anchors\n"
POLICY = "upstream: x\nzones: [com.]\nnameservers: {a.example.: [192.5.6.30]}\nsteer: {to: [pao]}\n"
ANCHOR = f"com. IN DS 1 13 2 {'00' * 32}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "anchors").write_text(ANCHOR)
    return place(tmp_path, CONFIG, x=POLICY)


def test_every_command_that_may_be_typed_is_done_by_something() -> None:
    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    assert set(commands.choices) == set(cli._COMMANDS)


@pytest.mark.parametrize("words", [["run"], ["check"], ["status"], ["reload"], ["explain", "::1"]])
def test_every_problem_of_a_wrong_configuration_is_printed_as_it_is(
    config: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(CONFIG + "colour: red\nsize: 3\n")
    assert cli.main([*words, "--config", str(config)]) == cli.WRONG_INPUT
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{config}:7: colour: ")
    assert second.startswith(f"{config}:8: size: ")


@pytest.mark.parametrize("command", ["run", "check"])
def test_anchors_that_are_none_are_wrong_input_with_their_line(
    config: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "anchors").write_text("com. IN A 192.0.2.1\n")
    assert cli.main([command, "--config", str(config)]) == cli.WRONG_INPUT
    told = capsys.readouterr().err
    assert told.startswith(f"{config.parent}/anchors:1: A record; wanted DS or DNSKEY")


@pytest.mark.parametrize("words", [["status"], ["explain", "192.5.6.30"]])
def test_an_agent_that_does_not_answer_is_a_failure(
    config: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "--config", str(config)]) == cli.FAILED
    where = config.parent / "run/status.sock"
    assert capsys.readouterr().err.startswith(f"steering: no agent answers at {where} ")


def test_what_is_no_address_is_wrong_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "a.gtld-servers.net"]) == cli.WRONG_INPUT
    assert capsys.readouterr().err == "steering: 'a.gtld-servers.net' is not an address\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(13, "no"), cli.NOT_PERMITTED, "steering: not permitted: [Errno 13] no\n"),
        (OSError(28, "full"), cli.FAILED, "steering: [Errno 28] full\n"),
        (CannotRunError(1, "this", "that"), cli.FAILED, "steering: this\nsteering: that\n"),
    ],
)
def test_what_the_host_will_not_do_has_its_own_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, said: str
) -> None:
    def refuse(_: argparse.Namespace) -> int:
        raise error

    told = io.StringIO()
    monkeypatch.setattr(sys, "stderr", told)
    monkeypatch.setitem(cli._COMMANDS, "on", refuse)
    assert (cli.main(["on"]), told.getvalue()) == (code, said)


def test_a_bug_of_the_agents_shows_where_it_is(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall_over(*_: object) -> None:
        raise OSError(9, "a socket that was closed")

    monkeypatch.setattr(loop, "Agent", fall_over)
    with pytest.raises(OSError, match="a socket that was closed"):
        cli.main(["run", "--config", str(config)])


def test_the_off_switch_waits_for_nothing_that_it_does_not_need() -> None:
    """All of the rest takes a second to load where the host is busy, as it is in an incident."""
    code = (
        "import sys, steering.cli.parser as w, steering.cli\n"
        "import steering.act.off_switch, steering.cli.off_paths\n"
        "w.parser().parse_args(['off'])\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules} | set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "steering.act.off_switch" in loaded
    assert not loaded & {
        *("asyncio", "cryptography", "dns", "prometheus_client", "pydantic", "sqlite3"),
        *(
            "steering.agent",
            "steering.config",
            "steering.engine",
            "steering.observe",
            "http",
        ),
    }


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["replay", "x", "--scenario", "y"], "--scenario runs as a whole"),
        (["replay", "--scenario", "y", "--from", "2026-11-24"], "--scenario runs as a whole"),
        (["replay", "x", "--from", "2026-11-24", "--to", "2026-11-23"], "--to is before --from"),
        (["explain", "::1", "--journal", "x"], "--at TIME"),
    ],
)
def test_what_would_be_passed_over_in_silence_is_refused(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == cli.WRONG_INPUT
    assert complaint in capsys.readouterr().err
