"""What `steering check` says of this host, besides the files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from steering import cli
from steering.cli import FAILED, FINE, WRONG_INPUT, sites
from steering.config import load
from steering.excuse import Excuse
from steering.model import Family, Source
from steering.report import client

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("mode", "who"),
    [("enforce", "`run`"), ("rehearse", "`run`"), ("observe", "`mode: rehearse`")],
    ids=["enforce", "rehearse", "observe"],
)
def test_who_would_refuse_depends_on_the_mode(
    mode: str, who: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "occupied").touch()
    config = tmp_path / "steering.yaml"
    config.write_text(
        f"site: sin\nmode: {mode}\nstate: occupied\nruntime: run\npolicies: {ROOT / 'policies'}\n"
        "sites: {pao: {next_hop: {ipv4: 192.0.2.1}}}\n"
    )
    assert cli.main(["check", "--config", str(config)]) == FINE
    said = capsys.readouterr().err.splitlines()
    refusals = [line for line in said if "wanted a directory to write in" in line]
    assert len(refusals) == 1
    assert refusals[0].startswith(f"this host: {who} would refuse: state: ")


def configured(tmp_path: Path, more: str = "") -> Path:
    config = tmp_path / "steering.yaml"
    config.write_text(
        f"site: sin\nstate: state\nruntime: run\npolicies: {ROOT / 'policies'}\n"
        f"sites: {{pao: {{next_hop: {{ipv4: 192.0.2.1}}}}}}\n{more}"
    )
    return config


@pytest.mark.parametrize("option", ["--temporary-rules", "--json"])
def test_what_goes_with_sites_goes_with_nothing_else(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["check", option, "--config", str(configured(tmp_path))])
    assert code == WRONG_INPUT
    assert "--sites" in capsys.readouterr().err


FOUND: Mapping[str, object] = {
    "sites": {
        "pao": {"ipv4": {"kernel": {}, "10.0.0.53": {}, "10.0.1.53@eth1": {}}, "ipv6": {}},
    }
}


def test_sources_are_what_the_files_say_else_what_a_running_agent_has_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "fetch", lambda _config, _path: dict(FOUND))
    found, running = sites._sources(load(configured(tmp_path)))
    assert running
    bound = Source(address="10.0.1.53", interface="eth1")
    assert found == {Family.IPV4: [None, Source(address="10.0.0.53"), bound]}
    said, _ = sites._sources(load(configured(tmp_path, "resolver_sources: {ipv4: [10.9.9.9]}\n")))
    assert list(said[Family.IPV4]) == [Source(address="10.9.9.9")]


def test_without_an_agent_the_kernel_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_config: object, _path: str) -> dict[str, object]:
        raise Excuse(FAILED, "no agent answers")

    monkeypatch.setattr(client, "fetch", nobody)
    assert sites._sources(load(configured(tmp_path))) == ({}, False)
