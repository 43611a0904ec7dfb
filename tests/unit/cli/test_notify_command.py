"""`steering notify`: what would be told, and a test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steering.cli import main
from steering.errors import FAILED, FINE, WRONG_INPUT

PLAIN = f"site: sin\npolicies: {Path(__file__).parents[3] / 'policies'}\n"
NOTIFY = """
notify:
  alertmanagers: {am: {urls: ["http://192.0.2.90:9093", "http://192.0.2.91/prefix"]}}
  webhooks: {chat: {url: "http://192.0.2.80/x", on: [incident]}}
  commands:
    good: {argv: [sh, -c, cat >"$0", OUT]}
    bad: {argv: [sh, -c, echo no room >&2; exit 3]}
"""


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    file = tmp_path / "steering.yaml"
    text = NOTIFY.replace("OUT", str(tmp_path / "out"))
    file.write_text(f"{PLAIN}sites: {{pao: {{next_hop: {{ipv4: 10.0.0.1}}}}}}{text}")
    return file


def test_what_each_would_get_is_shown_and_nothing_is_sent(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["notify", "--config", str(configured)]) == FINE
    said = capsys.readouterr().out
    assert "am: alarm, move, to http://192.0.2.90:9093, http://192.0.2.91/prefix\n[" in said
    assert "chat: incident, to http://192.0.2.80/x\n{" in said
    assert "bad: alarm, incident, move, to sh -c 'echo no room >&2; exit 3'\n{" in said
    assert not (configured.parent / "out").exists()


def test_a_test_is_sent_to_those_named_and_says_that_nothing_happened(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["notify", "--config", str(configured), "--send", "good"]) == FINE
    assert capsys.readouterr().out.startswith("good: sent in ")
    sent = json.loads((configured.parent / "out").read_text())
    assert "nothing has happened" in sent["text"]
    assert (sent["site"], sent["stage"]) == ("sin", "ended")


def test_one_that_takes_nothing_is_a_failure_that_says_why(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["notify", "--config", str(configured), "--send", "bad", "good"]) == FAILED
    assert capsys.readouterr().out.splitlines()[0] == "bad: sh: exit status 3: no room"
    assert (configured.parent / "out").exists()


def test_no_receiver_and_an_unknown_one_are_wrong_input(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["notify", "--config", str(configured), "pager"]) == WRONG_INPUT
    assert "no receiver 'pager', wanted one of: chat, am, good, bad" in capsys.readouterr().err
    configured.write_text(f"{PLAIN}mode: observe\nsites: {{}}\n")
    assert main(["notify", "--config", str(configured)]) == WRONG_INPUT
    assert "no receiver is configured" in capsys.readouterr().err


def test_two_receivers_of_one_name_are_refused(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configured.write_text(configured.read_text().replace("good:", "chat:"))
    assert main(["notify", "--config", str(configured)]) == WRONG_INPUT
    assert "notify: has chat twice, wanted each name once" in capsys.readouterr().err
