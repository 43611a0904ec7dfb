"""The files we ship and the pages we print are tried, not believed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from steering.config import (
    Config,
    ConfigError,
    Overrides,
    Policy,
    Serial,
    Setup,
    ZoneCopy,
    check,
    load,
)
from steering.config.base import Section
from steering.config.schema import rendered
from steering.config.yaml_file import Document, parse
from steering.model import Family
from steering.replay.scenario import Scenario

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs/reference"

OTHER_BLOCKS: frozenset[tuple[str, str]] = frozenset(
    {
        (
            "policies/README.md",
            "# yaml-language-server: $schema=../docs/reference/policy.schema.json",
        ),
        ("docs/operations.md", "flush:                      # off if left out"),
    }
)
"""YAML blocks of the docs that are no file: page and first line."""


@pytest.fixture
def shipped(tmp_path: Path) -> Setup:
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    shutil.copy(ROOT / "policies/steering.yaml.example", tmp_path / "steering.yaml")
    return load(tmp_path / "steering.yaml")


def test_the_shipped_files_load_together(shipped: Setup) -> None:
    assert [policy.upstream for policy in shipped.policies] == ["gtld-servers", "root-servers"]


@pytest.mark.parametrize(
    ("upstream", "domain", "zones", "serial"),
    [
        ("root-servers", "root-servers.net.", (".",), Serial.DATE),
        ("gtld-servers", "gtld-servers.net.", ("com.", "net."), Serial.EPOCH),
    ],
)
def test_a_shipped_policy_has_thirteen_letters_in_both_families(
    shipped: Setup, upstream: str, domain: str, zones: tuple[str, ...], serial: Serial
) -> None:
    (policy,) = (p for p in shipped.policies if p.upstream == upstream)
    assert list(policy.nameservers) == [f"{letter}.{domain}" for letter in "abcdefghijklm"]
    assert Counter(t.family for t in policy.targets) == {Family.IPV4: 13, Family.IPV6: 13}
    assert len({t.address for t in policy.targets}) == 26
    for nameserver in policy.nameservers:
        assert {t.family for t in policy.targets if t.nameserver == nameserver} == set(Family)
    assert (policy.zones, policy.serial) == (zones, serial)
    assert policy.steer.to == (), "the sites are others everywhere"


def test_the_root_addresses_are_those_of_the_hints_file(shipped: Setup) -> None:
    hints = Path("/usr/share/dns/root.hints")
    if not hints.exists():
        pytest.skip("needs Debian's dns-root-data")
    lines = re.findall(r"(?m)^(\S+\.)\s+\d+\s+a{1,4}\s+(\S+)$", hints.read_text().lower())
    (root,) = (p for p in shipped.policies if p.upstream == "root-servers")
    assert {(t.nameserver, t.address) for t in root.targets} == set(lines)


@pytest.mark.parametrize(
    "name",
    sorted(rendered()),
)
def test_the_printed_reference_is_the_one_in_force(name: str) -> None:
    assert (REFERENCE / name).read_text() == rendered()[name], (
        "run python -m steering.config.schema"
    )


def test_the_reference_is_written_by_one_command(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "steering.config.schema", str(tmp_path)], check=True)
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == rendered()


def blocks() -> list[tuple[str, str]]:
    pages = [
        ROOT / "README.md",
        ROOT / "policies/README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]
    return [
        (str(page.relative_to(ROOT)), block)
        for page in pages
        for block in re.findall(r"(?ms)^```yaml\n(.*?)^```", page.read_text())
    ]


@pytest.mark.parametrize(("page", "text"), blocks())
def test_every_yaml_block_in_the_docs_is_valid(page: str, text: str) -> None:
    if (page, text.splitlines()[0]) in OTHER_BLOCKS:
        assert yaml.safe_load(text) is None or parse(text, ROOT / page)
        return
    document: Document = parse(text, ROOT / page)
    kinds: dict[str, type[Section]] = {
        "site": Config,
        "upstream": Policy,
        "zone_copy": ZoneCopy,
        "overrides": Overrides,
        "story": Scenario,
    }
    kind = kinds.get(next(iter(document.values)))
    assert kind, f"none of the files: {text!r} (or list it in OTHER_BLOCKS)"
    try:
        check(kind, document)
    except ConfigError as error:
        pytest.fail(str(error))


def test_the_configuration_loads_without_dns_and_netlink() -> None:
    code = "import sys, steering.config; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"dns", "pyroute2", "steering.config.schema"} & set(ran.stdout.split())
