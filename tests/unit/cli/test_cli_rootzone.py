"""`steering rootzone`: its output, its JSON and its exit codes."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from spoiledzone import KINDS
from transfers import serving
from wholezone import WholeZone, write

from steering.cli import main
from steering.observe.zone import facts
from steering.observe.zone.facts import Source

SERIAL = 2026120100


@dataclass
class Host:
    """A configuration with a state of its own, and the zone's keys as its trust anchor."""

    directory: Path
    made: WholeZone

    def configure(self, more: str = "") -> None:
        (self.directory / "policies").mkdir(exist_ok=True)
        (self.directory / "policies" / "gtld.yaml").write_text(
            "upstream: gtld\nzones: [gtld.]\nnameservers: {a.gtld.: [192.0.2.1]}\n"
        )
        (self.directory / "root.key").write_text(self.made.anchor)
        (self.directory / "steering.yaml").write_text(
            f"site: sin\nsites: {{}}\nmode: observe\nstate: {self.directory}/state\n"
            f"runtime: {self.directory}/run\ntrust_anchors: root.key\n{more}"
        )

    def run(self, *words: str) -> int:
        return main(["rootzone", *words, "--config", str(self.directory / "steering.yaml")])

    def zone(self, text: str | None = None) -> str:
        file = write(self.made.signed(SERIAL), self.directory / "a.zone")
        if text is not None:
            file.write_text(text)
        return str(file)


@pytest.fixture(scope="module")
def made() -> WholeZone:
    return WholeZone(now=time.time())


@pytest.fixture
def host(made: WholeZone, tmp_path: Path) -> Host:
    found = Host(tmp_path, made)
    found.configure()
    return found


@pytest.fixture
def source(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """What the sources lead to: a server on the loopback."""
    with serving(host.made.signed(SERIAL)) as there:
        monkeypatch.setattr(facts, "Source", lambda **_: there)
        host.configure("rootzone: {sources: [192.0.2.53]}\n")
        yield there


def test_a_good_file_is_verified_with_0(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert host.run("verify", host.zone()) == 0
    said = capsys.readouterr().out
    assert f"serial {SERIAL}: good" in said
    assert "digest verified" in said
    assert host.run("verify", "--json", host.zone()) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["good"], made["serial"], made["digest"]) == (True, SERIAL, "verified")


def test_a_spoiled_file_is_1_with_the_reason(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    text = KINDS["another digest"][0](host.made, random.Random(1))
    assert host.run("verify", host.zone(text)) == 1
    assert "problem: the records have another digest than ZONEMD says" in capsys.readouterr().out
    assert host.run("verify", "--json", host.zone(text[:900])) == 1
    assert json.loads(capsys.readouterr().out)["good"] is False


@pytest.mark.parametrize(
    ("words", "because"),
    [
        (["verify", "missing.zone"], "missing.zone"),
        (["verify", "--zone", "example.", "x"], "example. has no trust anchor"),
        (["publish"], "no `rootzone.publish`"),
        (["publish", "nobody"], "wanted one of none"),
    ],
)
def test_wrong_input_is_2(
    words: list[str], because: str, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    assert host.run(*words) == 2
    assert because in capsys.readouterr().err


def test_without_a_copy_status_and_publish_are_1(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    assert host.run("status") == 1
    said = capsys.readouterr().out
    assert "no copy" in said
    assert "no source was asked yet" in said
    host.configure(f"rootzone: {{publish: {{one: {{unbound: {{}}, file: {host.directory}/z}}}}}}\n")
    assert host.run("publish") == 1
    assert "steering rootzone fetch" in capsys.readouterr().err


@pytest.mark.usefixtures("source")
def test_a_copy_is_fetched_shown_and_verified(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    assert host.run("fetch") == 0
    assert f"new: serial {SERIAL}" in capsys.readouterr().out
    assert host.run("fetch", "--json") == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "current"
    assert host.run("fetch", "--again") == 0
    assert "new: " in capsys.readouterr().out
    assert host.run("verify") == 0
    capsys.readouterr()
    assert host.run("status") == 0
    said = capsys.readouterr().out
    assert f"serial {SERIAL}, usable" in said
    assert "last round at" in said
    assert host.run("status", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["copy"]["usable"] is True
    assert made["last_round"]["good"] is True


def test_sources_that_are_silent_are_1(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.configure("rootzone: {sources: [127.0.0.253]}\n")
    assert host.run("fetch", "--json") == 1
    made = json.loads(capsys.readouterr().out)
    assert made["outcome"] == "silent"
    assert made["sources"][0]["source"] == "127.0.0.253"


@pytest.mark.usefixtures("source")
def test_publishing_says_how_far_it_came_with_each_resolver(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    assert host.run("fetch") == 0
    host.configure(
        "rootzone:\n  publish:\n"
        f"    one: {{knot-resolver: {{}}, file: {host.directory}/one.zone}}\n"
        f"    two: {{knot-resolver: {{}}, file: {host.directory}/none/two.zone}}\n"
    )
    capsys.readouterr()
    assert host.run("publish") == 1
    said = capsys.readouterr().out
    assert "one: done: the resolver loads the file by itself" in said
    assert "two: refused: " in said
    assert host.run("publish", "one", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["step"], row["serial"]) == ("one", "done", SERIAL)
    host.run("status", "--json")
    assert json.loads(capsys.readouterr().out)["published"] == {"one": True, "two": False}


def test_a_state_that_may_not_be_written_is_3(
    host: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "state")

    monkeypatch.setattr("steering.rootzone.keep.make_directory", refused)
    assert host.run("fetch") == 3
    assert "not permitted" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_the_four_commands(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    for word in ("rootzone", "fetch", "verify", "publish", "--again"):
        assert word in said
