"""What `steering check` says of this host, besides the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from etc import configured

from steering import cli
from steering.act.kernel.conntrack import Conntrack
from steering.cli import FAILED, FINE, WRONG_INPUT, api_client, check_sites
from steering.config import load
from steering.errors import CommandError
from steering.model import Family, Source

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("mode", "who"),
    [("enforce", "`run`"), ("rehearse", "`run`"), ("observe", "`mode: rehearse`")],
    ids=["enforce", "rehearse", "observe"],
)
def test_who_would_refuse_depends_on_the_mode(
    mode: str, who: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").touch()
    config = configured(tmp_path, f"mode: {mode}\n")
    assert cli.main(["check", "--config", str(config)]) == FINE
    told, complained = capsys.readouterr()
    assert told.startswith(f"{config}: valid: 2 upstreams, ")
    assert cli.main(["check", "--strict", "--config", str(config)]) > FINE
    assert capsys.readouterr() == (told, complained)
    said = complained.splitlines()
    refusals = [line for line in said if "wanted a directory to write in" in line]
    assert len(refusals) == 1
    assert refusals[0].startswith(f"this host: {who} would refuse: state: ")


def test_what_an_override_may_have_meant_is_said_and_fails_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steering.act.preflight.preflight", lambda *_, **__: ())
    config = configured(tmp_path, "observe: {dnstap: []}\n")
    (tmp_path / "policies").mkdir()
    config.write_text(config.read_text().replace(str(ROOT / "policies"), "policies"))
    (tmp_path / "policies/x.yaml").write_text(
        "upstream: gtld-servers\nzones: [com.]\nnameservers: {a.example.: [192.5.6.30]}\n"
    )
    assert cli.main(["check", "--strict", "--config", str(config)]) == FINE
    assert capsys.readouterr().err == ""
    (tmp_path / "policies/overrides.yaml").write_text(
        "overrides:\n  - {name: a, match: {upstream: gtld}, action: local, until: never,"
        " reason: r, by: b}\n"
    )
    assert cli.main(["check", "--config", str(config)]) == FINE
    said, complained = capsys.readouterr()
    assert ": fine: " in said
    assert "overrides.yaml:2: overrides[0].match.upstream: matches nothing" in complained
    assert cli.main(["check", "--strict", "--config", str(config)]) == FAILED


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
    monkeypatch.setattr(api_client, "fetch", lambda _config, _path: dict(FOUND))
    found, running = check_sites._sources(load(configured(tmp_path)))
    assert running
    bound = Source(address="10.0.1.53", interface="eth1")
    assert found == {Family.IPV4: [None, Source(address="10.0.0.53"), bound]}
    said, _ = check_sites._sources(
        load(configured(tmp_path, "resolver_sources: {ipv4: [10.9.9.9]}\n"))
    )
    assert list(said[Family.IPV4]) == [Source(address="10.9.9.9")]


def test_without_an_agent_the_kernel_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_config: object, _path: str) -> dict[str, object]:
        raise CommandError(FAILED, "no agent answers")

    monkeypatch.setattr(api_client, "fetch", nobody)
    assert check_sites._sources(load(configured(tmp_path))) == ({}, False)


@dataclass(frozen=True)
class Entry:
    source: str

    @property
    def apart(self) -> bool:
        return self.source == "127.0.0.1"


def test_who_asks_through_this_host_and_is_not_said_to_be_carried_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not this host itself, and not somebody who asked a few times."""
    table = {"10.88.0.7": 8, "10.88.0.8": 7, "10.99.0.1": 8, "127.0.0.1": 8}

    def questions(_self: Conntrack, family: Family, _addresses: object) -> list[Entry]:
        some = [Entry(source) for source, number in table.items() for _ in range(number)]
        return some if family is Family.IPV4 else []

    monkeypatch.setattr(Conntrack, "questions", questions)
    config = configured(tmp_path, "forwarded_sources: [10.99.0.0/24]\n")
    cli.main(["check", "--config", str(config)])
    said = capsys.readouterr().err
    assert "forwarded_sources: 10.88.0.7 asks watched nameservers through this host" in said
    assert "10.99." not in said
    assert "10.88.0.8" not in said
    assert "127.0.0.1 asks" not in said
    table["10.88.0.7"] = 0
    cli.main(["check", "--config", str(config)])
    assert "10.88.0.7" not in capsys.readouterr().err


def test_whom_nobody_may_see_is_not_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_self: Conntrack, _family: Family, _addresses: object) -> list[Entry]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Conntrack, "questions", refused)
    assert cli.main(["check", "--config", str(configured(tmp_path))]) == FINE
    assert "forwarded_sources" not in capsys.readouterr().err


COPY = """zone_copy: root
interval: 1m
resolvers:
  cache-1:
    unbound: {include: /etc/unbound/copy.conf}
    settings: unbound.conf
    file: root.zone
    clients: [127.0.0.1]
"""


def test_what_makes_a_copy_dangerous_is_a_notice_until_something_renews_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steering.act.preflight.preflight", lambda *_, **__: ())
    config = configured(tmp_path, "observe: {dnstap: []}\n")
    config.write_text(config.read_text().replace(str(ROOT / "policies"), "policies"))
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/x.yaml").write_text(
        "upstream: x\nzones: [.]\nnameservers: {a.example.: [127.0.0.1]}\n"
    )
    (tmp_path / "policies/root.yaml").write_text(COPY)
    settings = tmp_path / "policies/unbound.conf"
    settings.write_text(
        'auth-zone:\n name: "."\n fallback-enabled: yes\n for-downstream: no\n zonemd-check: yes\n'
        ' zonefile: "root.zone"\n'
    )
    assert cli.main(["check", "--config", str(config)]) == FINE
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"this host: notice: root: cache-1: {settings}:6: auth-zone")
    assert "nothing renews root.zone" in said
    assert cli.main(["check", "--strict", "--config", str(config)]) == FAILED
    given = f"{{cache-1: {{unbound: {{}}, file: {tmp_path}/policies/root.zone}}}}"
    with config.open("a") as file:
        file.write(f"rootzone: {{publish: {given}}}\n")
    capsys.readouterr()
    assert cli.main(["check", "--strict", "--config", str(config)]) == FINE
    assert capsys.readouterr().err == ""
