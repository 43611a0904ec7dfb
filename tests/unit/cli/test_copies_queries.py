"""`steering explain COPY` and `status --zones`: what is asked of the agent, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steering import cli
from steering.cli import api_client

ANSWER = {
    "zones": {
        ".": {
            "newest": 7,
            "paths": {
                "local": {
                    "serial": 7,
                    "age_s": 60.0,
                    "signature_remaining_s": 86_400.0,
                    "behind": 0,
                    "behind_addresses": [],
                }
            },
            "copies": {},
        }
    },
    "copies": [
        {
            "copy": "root",
            "zone": ".",
            "resolver": resolver,
            "kind": "unbound",
            "health": "healthy",
            "because": "has serial 7, as the zone's servers",
            "phase": "in",
            "serial": 7,
            "proven_new_s": 3.0,
            "behind_s": None,
            "signature_remaining_s": 900_000.0,
            "expire_s": 604_800.0,
            "left_s": 600_000.0,
            "out_because": "",
            "held": "",
            "trouble": "",
            "remedies": ["driver"],
            "used": [],
            "file": None,
            "asked": [],
            "servers": {
                "serial": 7,
                "signature_remaining_s": 900_000.0,
                "answer": True,
                "doubt": "",
            },
        }
        for resolver in ("cache-1", "cache-2")
    ],
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "policies").mkdir()
    (tmp_path / "steering.yaml").write_text("site: sin\nsites: {}\nmode: observe\n")
    (tmp_path / "policies/root.yaml").write_text(
        "upstream: root\nzones: [.]\nnameservers: {a.example.: [198.41.0.4]}\n"
    )
    (tmp_path / "policies/copy.yaml").write_text(
        "zone_copy: root\nresolvers:\n"
        "  cache-1: {unbound: {}, file: root.zone, clients: [10.0.0.53]}\n"
        "  cache-2: {unbound: {}, file: root.zone, clients: [10.0.0.54]}\n"
    )
    monkeypatch.setattr(api_client, "fetch", lambda _config, _path: ANSWER)
    return str(tmp_path / "steering.yaml")


def test_a_copy_is_explained_by_its_name_or_that_of_one_resolver(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explain", "root", "--config", config]) == cli.FINE
    both = capsys.readouterr().out
    assert "root/cache-1 (unbound), copy of .: healthy, in use" in both
    assert "root/cache-2 (unbound)" in both
    assert cli.main(["explain", "root/cache-2", "--config", config, "--json"]) == cli.FINE
    (one,) = json.loads(capsys.readouterr().out)
    assert one["resolver"] == "cache-2"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["arpa"], "'arpa' is not an address, and no zone_copy of the policies has this name"),
        (["root/cache-9"], "'root/cache-9': the agent has no such copy"),
        (["root", "--at", "2026-11-24 05:12"], "--at and --journal are for addresses"),
    ],
)
def test_what_names_no_copy_is_wrong_input(
    config: str, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert cli.main(["explain", *words, "--config", config]) == cli.WRONG_INPUT
    assert said in capsys.readouterr().err


def test_zones_are_printed_as_a_table_or_as_json(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", "--zones", "--config", config]) == cli.FINE
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["ZONE", "OVER", "SERIAL", "SEEN", "FOR", "SIGNATURES", "BEHIND"]
    assert line.split() == [".", "local", "7", "1", "min", "24", "h", "-"]
    assert cli.main(["status", "--zones", "--json", "--config", config]) == cli.FINE
    assert json.loads(capsys.readouterr().out) == ANSWER["zones"]
