"""What `steering check` says of this host, besides the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from steering import cli
from steering.cli import FINE

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("mode", "who"),
    [("enforce", "`run`"), ("observe", "`mode: enforce`")],
    ids=["enforce", "observe"],
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
