"""What is found before an agent starts: each lack, whose fault it is, and what is wanted."""

from __future__ import annotations

import errno
import functools
import os
from dataclasses import replace
from pathlib import Path

import pytest
from claims import CLAIM
from wire_kernel import GETRULE, WireKernel, wire_kernel

from steering import bounds
from steering.act import preflight as module
from steering.act.kernel import rtnetlink
from steering.act.kernel.framing import attribute, u32
from steering.act.kernel.rtnetlink import Route, route_body
from steering.act.kernel.rules import Action, Rule
from steering.act.preflight import Blame, Finding, preflight
from steering.errors import FAILED, FINE, NOT_PERMITTED, WRONG_INPUT
from steering.from_config import NOTHING
from steering.model import Family
from steering.system.permissions import may_change_routes

A, SIX = "192.0.2.1", "2001:db8::1"
QUIET = replace(CLAIM, transit_interfaces=(), mark=bounds.MARK, mask=bounds.MASK)


def test_whose_fault_it_is_is_the_exit_code() -> None:
    codes = (FINE, FAILED, WRONG_INPUT, NOT_PERMITTED)
    assert codes == (Blame.NOTICE, Blame.FAILED, Blame.WRONG_INPUT, Blame.NOT_PERMITTED)
    assert [blame.value for blame in Blame] == [*codes]


def first_rule(family: Family, priority: int = 0, protocol: int = 2, table: int = 255) -> Rule:
    return Rule(
        family=family, priority=priority, protocol=protocol, action=Action.LOOKUP, table=table
    )


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> WireKernel:
    """A host on which nothing is wrong."""
    made = wire_kernel(monkeypatch)
    made.add(*map(first_rule, Family))
    for family, hops in (
        (Family.IPV4, ("10.255.1.2", "10.255.2.2")),
        (Family.IPV6, ("fd00:ff:1::2",)),
    ):
        for hop in hops:
            made.lookups[hop] = looked_up(family, hop)
    made.lookups[A] = looked_up(Family.IPV4, A, "10.0.0.1")
    made.lookups[SIX] = looked_up(Family.IPV6, SIX, "2001:db8:ffff::1")
    monkeypatch.setattr(module, "may_change_routes", lambda _process: True)
    monkeypatch.setattr(module, "_name_of_index", lambda index: {"eth0"} if index else set())
    monkeypatch.setattr(module, "_reverse_path", lambda _name: ())
    monkeypatch.setattr(module, "_bypassed", lambda *_: ())
    return made


def looked_up(family: Family, destination: str, gateway: str | None = None) -> bytes:
    made = Route(
        family=family,
        table=254,
        protocol=2,
        destination=destination,
        length=family.bits,
        gateway=gateway,
    )
    return route_body(made) + attribute(rtnetlink._OIF, u32(2))


@pytest.fixture
def look(tmp_path: Path, kernel: WireKernel) -> functools.partial[tuple[Finding, ...]]:
    assert kernel.rules
    return functools.partial(preflight, state=tmp_path / "state", runtime=tmp_path / "run")


Look = functools.partial[tuple[Finding, ...]]


def texts(found: tuple[Finding, ...]) -> list[str]:
    return [f"{finding.kind.name} {finding}" for finding in found]


def test_where_nothing_is_wrong_nothing_is_said(look: Look, tmp_path: Path) -> None:
    assert texts(look(QUIET, {A, SIX})) == []
    assert (tmp_path / "state").is_dir()
    assert (tmp_path / "run").is_dir()
    assert not list((tmp_path / "run").iterdir())


def test_the_worst_comes_first(
    look: Look, kernel: WireKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "may_change_routes", lambda _process: False)
    del kernel.lookups[A]
    found = look(QUIET, {A, SIX, "192.0.2.1/24"})
    assert [finding.kind for finding in found] == [
        Blame.NOT_PERMITTED,
        Blame.WRONG_INPUT,
        Blame.NOTICE,
    ]
    assert not [f for f in look(NOTHING, ()) if f.kind is Blame.NOT_PERMITTED], (
        "by BGP alone nothing is installed here"
    )


def test_a_family_without_policy_routing_is_no_host_for_it(look: Look, kernel: WireKernel) -> None:
    kernel.rules = [rule for rule in kernel.rules if rule.family is Family.IPV4]
    (found,) = look(QUIET, {A, SIX})
    assert found.kind is Blame.FAILED
    assert "no policy routing for ipv6" in found.message
    only = replace(
        QUIET,
        next_hops={
            site: {Family.IPV4: hops[Family.IPV4]} for site, hops in QUIET.next_hops.items()
        },
    )
    assert not [f for f in look(only, {A}) if f.kind is Blame.FAILED]


def test_what_others_have_within_the_claim_is_an_error_and_while_steering_a_notice(
    look: Look, kernel: WireKernel
) -> None:
    kernel.add(first_rule(Family.IPV4, CLAIM.priority, 4, 254))
    (found,) = look(QUIET, {A, SIX})
    assert found.kind is Blame.WRONG_INPUT
    assert "wanted tables 5353 to 5355, preferences 5350 to 5354 and marks" in found.message
    (leased,) = look(QUIET, {A, SIX}, leased=True)
    assert leased.kind is Blame.NOTICE
    former = replace(QUIET, protocol=99)
    kernel.rules[-1] = first_rule(Family.IPV4, CLAIM.priority, 99, 254)
    assert look(QUIET, {A, SIX}, former=[former]) == ()
    kernel.rules[-1] = first_rule(Family.IPV4, CLAIM.priority - 3, 4, 254)
    (spare,) = look(QUIET, {A, SIX})
    assert spare.kind is Blame.NOTICE
    assert "outside 5350 to 5354" in spare.message
    assert not [f for f in look(NOTHING, ()) if "rule" in f.message]


def test_an_address_that_can_never_be_steered_is_a_fault_of_the_policies(
    look: Look, kernel: WireKernel
) -> None:
    kernel.own = (A,)
    (own,) = look(QUIET, {A, SIX})
    assert own.kind is Blame.WRONG_INPUT
    assert own.message == f"policies: {A} can't be steered: it is one of this host's own addresses"
    kernel.own = ("10.255.1.2",)
    found = look(QUIET, {A, SIX, "10.255.2.2"})
    assert [f.kind for f in found] == [Blame.WRONG_INPUT] * 2
    assert "10.255.2.2 can't be steered: it is the next hop of fra" in found[0].message
    assert "sites.pao.next_hop.ipv4: 10.255.1.2 is this host itself" in found[1].message
    kernel.own = ()
    four = replace(QUIET, next_hops={"pao": {Family.IPV4: "10.255.1.2"}}, sites=("pao",))
    (none,) = [f for f in look(four, {A, SIX, "2001:db8::2"}) if "no site" in f.message]
    assert none.kind is Blame.NOTICE
    assert none.message == "policies: 2 addresses can't be steered: no site has an ipv6 next hop"


def test_what_is_on_no_link_or_has_no_route_now_is_a_notice(look: Look, kernel: WireKernel) -> None:
    kernel.lookups["10.255.1.2"] = looked_up(Family.IPV4, "10.255.1.2", "10.0.0.1")
    del kernel.lookups["fd00:ff:1::2"], kernel.lookups[SIX]
    found = look(QUIET, {A, SIX})
    assert {f.kind for f in found} == {Blame.NOTICE}
    assert [f.message.split(": ")[0] for f in found] == [
        "sites.pao.next_hop.ipv4",
        "sites.pao.next_hop.ipv6",
        "policies",
    ]
    assert "no route to their 1 ipv6 addresses" in found[2].message
    transit = replace(QUIET, transit_interfaces=("no-such-link",))
    assert "there is no interface no-such-link now" in look(transit, {A, SIX})[0].message
    assert not [
        f for f in look(replace(QUIET, transit_interfaces=("lo",)), {A}) if "lo" in f.message
    ]


def test_links_by_which_packets_come_back_are_checked_for_strictness_once(
    look: Look, kernel: WireKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []

    def check(name: str) -> tuple[Finding, ...]:
        checked.append(name)
        return ()

    monkeypatch.setattr(module, "_reverse_path", check)
    look(QUIET, {A, SIX})
    assert checked == ["eth0"]
    assert kernel.requests


def test_a_mark_that_others_use_is_a_notice(look: Look) -> None:
    shared = replace(QUIET, mark=0x100, mask=0xF00)
    messages = [f.message for f in look(shared, {A, SIX}) if f.kind is Blame.NOTICE]
    assert [m for m in messages if "share bits with the marks of" in m]
    assert not [f for f in look(QUIET, {A}) if "share bits" in f.message]


def test_a_kernel_that_cannot_be_read_is_a_fault_of_permission_or_of_the_host(
    look: Look, kernel: WireKernel
) -> None:
    kernel.dumps[GETRULE] = []
    for number, kind in (
        (errno.EPERM, Blame.NOT_PERMITTED),
        (errno.EACCES, Blame.NOT_PERMITTED),
        (errno.ENOMEM, Blame.FAILED),
    ):
        kernel.refuse = functools.partial(_refused, number)
        (found,) = look(QUIET, {A, SIX})
        assert found.kind is kind
        assert found.message.endswith(os.strerror(number))


def _refused(number: int, _kind: int, _body: bytes) -> int:
    return number


def test_directories_are_made_or_only_looked_at(look: Look, tmp_path: Path) -> None:
    assert look(QUIET, {A, SIX}, create=False) == ()
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").write_text("a file")
    for create in (False, True):
        (found,) = look(QUIET, {A, SIX}, create=create)
        assert found.kind is Blame.WRONG_INPUT
        assert found.message.startswith(f"runtime: {tmp_path / 'run'}: ")


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (TimeoutError(errno.ETIMEDOUT, "no answer"), [Blame.FAILED, Blame.NOTICE]),
        (PermissionError(errno.EACCES, "denied"), [Blame.NOT_PERMITTED] * 2),
        (OSError(errno.EPERM, "denied"), [Blame.NOT_PERMITTED] * 2),
        (OSError(errno.ENOSPC, "full"), [Blame.WRONG_INPUT] * 2),
    ],
)
def test_without_a_runtime_directory_there_is_no_lease_and_without_state_there_may_be(
    look: Look, monkeypatch: pytest.MonkeyPatch, error: OSError, kinds: list[Blame]
) -> None:
    def refuses(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "within", refuses)
    assert [finding.kind for finding in look(QUIET, {A, SIX})] == kinds


def test_a_strict_reverse_path_filter_is_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("all", "eth0"):
        (tmp_path / name).mkdir()

    def found(every: str, one: str) -> bool:
        (tmp_path / "all/rp_filter").write_text(every)
        (tmp_path / "eth0/rp_filter").write_text(one)
        return bool([*module._reverse_path("eth0")])

    monkeypatch.setattr(module, "Path", lambda _root, name, file: tmp_path / name / file)
    assert [found(every, one) for every, one in ("00", "10", "01", "11", "20", "12", "21")] == [
        False,
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert not [*module._reverse_path("gone")]
    assert not found("x", "1")


def test_a_process_may_change_routes_by_its_capability_and_its_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    assert may_change_routes(os.getpid())
    assert may_change_routes(os.getpid(), uid=0)
    assert not may_change_routes(os.getpid(), uid=1)
