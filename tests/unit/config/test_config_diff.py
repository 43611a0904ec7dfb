"""What an operator changed is told in his own words: which key, what it was, what it is now."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation import CONFIG, policy, setup

from steering.config import Setup
from steering.config_diff import changes

ROOT = policy("root", net=6)
OVERRIDE = """\
overrides:
  - name: migration
    match: {upstream: gtld, family: ipv6}
    action: steer
    to: pao
    until: 2026-11-24T06:00:00Z
    reason: stale data, ticket 4711
    by: noc
"""


@pytest.fixture
def was(tmp_path: Path) -> Setup:
    return setup(tmp_path, policy(), ROOT)


def overridden(tmp: Path, text: str) -> Setup:
    (tmp / "policies" / "overrides.yaml").write_text(text)
    return setup(tmp, policy(), ROOT)


def test_the_same_again_is_no_change(tmp_path: Path, was: Setup) -> None:
    assert not changes(was, setup(tmp_path, policy() + "# a remark\n", ROOT))


def test_a_key_is_told_as_it_was_and_is_typed(tmp_path: Path, was: Setup) -> None:
    now = setup(
        tmp_path,
        policy(more="breach: {failure_rate: 1%, on: [bogus]}\n"),
        ROOT,
        config=CONFIG.replace("interval: 1s", "interval: 2s") + "lease: 90s\n",
    )
    assert changes(was, now) == (
        "lease: was 1m, now 90s",
        "observe.probe.interval: was 1s, now 2s",
        "policy gtld: breach.failure_rate: was 0.3%, now 1%",
        "policy gtld: breach.on: was [bogus, timeout, error], now [bogus]",
    )


def test_sites_that_come_go_or_change_their_number(tmp_path: Path, was: Setup) -> None:
    lines = CONFIG.splitlines()
    lines[2], lines[3] = lines[3], lines[2]
    swapped = setup(tmp_path, policy(), ROOT, config="\n".join(lines) + "\n")
    assert changes(was, swapped) == ("sites: the order is now fra, pao",)
    other = setup(tmp_path, policy(), ROOT, config=CONFIG.replace("  fra:", "  lax:"))
    hops = "next_hop: {ipv4: 10.255.2.2, ipv6: fd00:ff:2::2}, return: path"
    assert changes(was, other) == (
        f"sites.fra removed (was {{{hops}}})",
        f"sites.lax added: {{{hops}}}",
    )


def test_policies_that_come_and_go_are_counted_in_addresses(tmp_path: Path, was: Setup) -> None:
    (tmp_path / "policies" / "1.yaml").unlink()
    now = setup(tmp_path, policy())
    assert changes(was, now) == ("policy root removed (6 addresses)",)
    assert changes(now, was) == ("policy root added (6 addresses)",)


def test_an_address_more_is_told_at_its_nameserver(tmp_path: Path, was: Setup) -> None:
    now = setup(tmp_path, policy().replace("[192.5.0.30, ", "[192.5.0.30, 192.5.0.31, "), ROOT)
    (line,) = changes(was, now)
    assert line.startswith('policy gtld: nameservers["a.gtld.example."]: was [192.5.0.30, 2001:')
    assert ", now [192.5.0.30, 192.5.0.31, 2001:" in line


def test_overrides_tell_who_wants_what_and_until_when(tmp_path: Path, was: Setup) -> None:
    one = overridden(tmp_path, OVERRIDE)
    said = (
        "override added: migration: steer to pao, upstream gtld, family ipv6, "
        "until 2026-11-24T06:00:00Z, by noc: stale data, ticket 4711"
    )
    assert changes(was, one) == (said,)
    later = overridden(tmp_path, OVERRIDE.replace("T06", "T09").replace("to: pao", "to: fra"))
    assert changes(one, later) == (
        "override migration: to: was pao, now fra",
        "override migration: until: was 2026-11-24T06:00:00Z, now 2026-11-24T09:00:00Z",
    )
    assert changes(later, was) == ("override migration removed",)


def test_the_order_of_overrides_is_a_change_since_the_last_one_wins(
    tmp_path: Path, was: Setup
) -> None:
    first, second = (
        OVERRIDE.split("\n", 1)[1],
        OVERRIDE.split("\n", 1)[1].replace("migration", "other"),
    )
    one = overridden(tmp_path, "overrides:\n" + first + second)
    two = overridden(tmp_path, "overrides:\n" + second + first)
    assert changes(one, two) == ("overrides: their order is now other, migration",)
