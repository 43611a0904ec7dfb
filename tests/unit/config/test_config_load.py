"""What operators type, and what they are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from etc import POLICY, TWO_SITES, place
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from steering.config import (
    Config,
    ConfigError,
    Counted,
    Listen,
    Mode,
    Policy,
    Probe,
    Problem,
    Serial,
    Site,
    Together,
    check,
    fingerprint,
    load,
)
from steering.config.yaml_file import parse
from steering.from_config import claim_of
from steering.journal.setups import read, write
from steering.model import Family


def problems(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return caught.value.problems


def only(path: Path) -> Problem:
    (problem,) = problems(path)
    return problem


def test_two_keys_are_enough(tmp_path: Path) -> None:
    setup = load(place(tmp_path))
    config = setup.config
    assert (config.site, config.mode, config.lease) == ("sin", Mode.ENFORCE, 60.0)
    assert config.policies == tmp_path / "policies"
    assert (config.state, config.runtime) == (Path("/var/lib/steering"), Path("/run/steering"))
    assert config.trust_anchors is None
    assert config.resolvers is None
    assert config.transit_interfaces == config.observe.dnstap == ()
    assert config.observe.probe == Probe(interval=10.0, fast_interval=0.2, timeout=1.0)
    kernel = config.act.kernel
    assert kernel is not None
    assert (kernel.table, kernel.protocol, kernel.priority) == (5353, 53, 5353)
    assert (kernel.mark, kernel.mark_bits) == (0x40, 0x7F)
    assert config.act.bgp is None
    assert config.status == Listen(host="127.0.0.1", port=9353)
    (policy,) = setup.policies
    assert policy.breach.on == (Counted.BOGUS, Counted.TIMEOUT, Counted.ERROR)
    assert policy.breach.failure_rate == 0.003
    assert (policy.breach.stale.serial_lag, policy.breach.stale.signature_remaining) == (None, None)
    assert (policy.recover.hold, policy.recover.max_hold, policy.recover.clean) == (300, 3600, 1600)
    assert (policy.steer.to, policy.steer.at_most) == ((), None)
    assert policy.steer.together is Together.UPSTREAM
    assert (policy.serial, policy.skew) == (Serial.OPAQUE, 0.0)
    assert policy.file == tmp_path / "policies/gtld.yaml"


def test_sites_keep_the_order_of_the_file_and_lead_by_family(tmp_path: Path) -> None:
    sites = load(place(tmp_path)).config.sites
    assert list(sites) == ["pao", "fra"]
    assert sites["pao"].next_hop == {Family.IPV4: "10.255.1.2", Family.IPV6: "fd00:ff:1::2"}
    assert sites["fra"].next_hop == {Family.IPV4: "10.255.2.2"}
    assert (sites["pao"].capacity, sites["fra"].capacity) == (20000, None)


def test_the_whole_contract_is_understood(tmp_path: Path) -> None:
    (tmp_path / "root.key").write_text(". IN DS 20326 8 2 E06D")
    config = TWO_SITES + (
        "mode: observe\nlease: 1.5m\nstate: var\nruntime: run\ntrust_anchors: root.key\n"
        "resolvers: [127.0.0.1, '::1']\ntransit_interfaces: [bb-pao, bb-fra]\n"
        "observe:\n  dnstap: [/run/steering/dnstap.sock, 'tcp://127.0.0.1:6000']\n"
        "  probe: {interval: 1s, fast_interval: 100ms, timeout: 500ms}\n"
        "act: {kernel: off, bgp: off}\nstatus: '[::1]:9353'\n"
    )
    policy = POLICY + (
        "operator: {name: Verisign, contact: noc@example.net}\nserial: epoch\nskew: 5s\n"
        "breach: {failure_rate: 1%, on: [stale], stale: {serial_lag: 1h}}\n"
        "recover: {hold: 1s, max_hold: 1m, clean: 3}\n"
        "steer: {to: [fra, pao], together: address, at_most: 26}\n"
    )
    setup = load(place(tmp_path, config, gtld=policy))
    assert setup.config.lease == 90.0
    assert setup.config.state == tmp_path / "var"
    assert setup.config.trust_anchors == tmp_path / "root.key"
    assert setup.config.resolvers == ("127.0.0.1", "::1")
    assert setup.config.observe.dnstap == ("/run/steering/dnstap.sock", "tcp://127.0.0.1:6000")
    assert setup.config.act.kernel is None
    assert str(setup.config.status) == "[::1]:9353"
    assert setup.policies[0].breach.failure_rate == 0.01
    assert setup.policies[0].breach.stale.serial_lag == 3600.0
    assert setup.policies[0].steer.to == ("fra", "pao")


def test_a_printed_configuration_parses_again(tmp_path: Path) -> None:
    setup = load(place(tmp_path))
    assert Config.model_validate_json(setup.config.model_dump_json()) == setup.config
    (policy,) = setup.policies
    assert Policy.model_validate_json(policy.model_dump_json()).targets == policy.targets


def test_false_is_off_and_off_is_no_boolean(tmp_path: Path) -> None:
    assert load(place(tmp_path, TWO_SITES + "act: {kernel: false}\n")).config.act.kernel is None
    named = "off: {next_hop: {ipv4: 10.0.0.9}}"
    setup = load(place(tmp_path, f"{TWO_SITES}  {named}\n"))
    assert "off" in setup.config.sites


def test_names_and_addresses_become_canonical(tmp_path: Path) -> None:
    policy = "upstream: x\nzones: [COM, .]\nnameservers: {NS.Nic.Example: ['2001:DB8:0:0::1']}\n"
    (read,) = load(place(tmp_path, TWO_SITES, x=policy)).policies
    assert read.zones == ("com.", ".")
    (target,) = read.targets
    assert (target.nameserver, target.address) == ("ns.nic.example.", "2001:db8::1")
    assert target.family is Family.IPV6


# What is appended to TWO_SITES, the line it is found in, where, and what is said about it.
BAD_CONFIGS = [
    ("mod: observe", 5, "mod", ["unknown key", "did you mean mode?"]),
    ("wibble: 1", 5, "wibble", ["unknown key", "wanted one of: site, mode"]),
    ("mode: enforced", 5, "mode", ['"enforced"', "enforce, rehearse or observe"]),
    ("mode: off", 5, "mode", ['"off"', "enforce, rehearse or observe"]),
    ("mode:", 5, "mode", ["empty", "enforce, rehearse or observe"]),
    ("lease: 60", 5, "lease", ["is 60", "unit (60s?)"]),
    ("lease: 1 hour", 5, "lease", ['"1 hour"', "number with a unit"]),
    ("lease: 1h30m", 5, "lease", ['"1h30m"', "number with a unit"]),
    ("lease: 1s", 5, "lease", ["is 1s", "2s to 1h", "flap under load"]),
    ("lease: true", 5, "lease", ["is true", "unit"]),
    ("state: 5", 5, "state", ["is 5", "a path"]),
    ("state: ''", 5, "state", ["a path"]),
    ("resolvers: []", 5, "resolvers", ["is empty", "at least one"]),
    ("resolvers: 127.0.0.1", 5, "resolvers", ["wanted a list"]),
    ("resolvers:\n- 127.0.0.1\n- one.one", 7, "resolvers[1]", ["one.one", "no address"]),
    ("resolvers: [1]", 5, "resolvers[0]", ["1 is no address"]),
    ("resolvers: ['::1', '0::1']", 5, "resolvers", ["::1 is listed twice"]),
    ("resolvers: [0.0.0.0]", 5, "resolvers[0]", ["not the address of a host"]),
    ("transit_interfaces: [lo]", 5, "transit_interfaces[0]", ["never be steered"]),
    ("transit_interfaces: [a/b]", 5, "transit_interfaces[0]", ["no interface"]),
    ("transit_interfaces: [averylonginterface]", 5, "transit_interfaces[0]", ["15"]),
    ("transit_interfaces: [a, a]", 5, "transit_interfaces", ["a is listed twice"]),
    ("observe:\n  dnstap: [run/sock]", 6, "observe.dnstap[0]", ["absolute socket path"]),
    ("observe:\n  dnstap: ['tcp://host:1']", 6, "observe.dnstap[0]", ["tcp://address:port"]),
    ("observe: {dnstap: [/" + "x" * 120 + "]}", 5, "observe.dnstap[0]", ["too long"]),
    (
        "observe:\n  probe:\n    interval: 1s\n    fast_interval: 2s",
        8,
        "observe.probe.fast_interval",
        ["is 2s", "at most the interval of 1s"],
    ),
    ("observe: {probe: {fast_interval: 1ms}}", 5, "observe.probe.fast_interval", ["10ms to 1h"]),
    ("observe: {probe: {timeout: 11s}}", 5, "observe.probe.timeout", ["10ms to 10s"]),
    ("observe: {probe: {timeout: 0s}}", 5, "observe.probe.timeout", ["10ms to 10s"]),
    ("observe: {probe: [1]}", 5, "observe.probe", ["is a list", "a mapping"]),
    ("observe: {probe: {intervall: 1s}}", 5, "observe.probe.intervall", ["mean interval?"]),
    ("act: {kernel: {table: 254}}", 5, "act.kernel.table", ["254", "`main`"]),
    ("act: {kernel: {table: 0}}", 5, "act.kernel.table", ["1 to 4294967295"]),
    ("act: {kernel: {table: 251}}", 5, "act.kernel.table", ["ends at 253", "clear of"]),
    ("act: {kernel: {table: 4294967294}}", 5, "act.kernel.table", ["below 4294967296"]),
    ("act: {kernel: {table: five}}", 5, "act.kernel.table", ["whole number"]),
    ("act: {kernel: {table: true}}", 5, "act.kernel.table", ["whole number"]),
    ("act: {kernel: {table: 5.0}}", 5, "act.kernel.table", ["whole number"]),
    ("act: {kernel: {protocol: 4}}", 5, "act.kernel.protocol", ["5 to 255", "kernel's own"]),
    ("act: {kernel: {protocol: 12}}", 5, "act.kernel.protocol", ["BIRD"]),
    ("act: {kernel: {priority: 3}}", 5, "act.kernel.priority", ["4 to 32764"]),
    ("act: {kernel: {priority: 32765}}", 5, "act.kernel.priority", ["nothing is steered"]),
    ("act: {kernel: {mark: 0}}", 5, "act.kernel.mark", ["all other traffic"]),
    ("act: {kernel: {mark: 0xfffffffe}}", 5, "act.kernel.mark", ["0xfffffffe", "smaller"]),
    ("act: {kernel: {mark: 0x7e}}", 5, "act.kernel.mark", ["0x7f", "1 sites of 2", "smaller"]),
    ("act: {kernel: {mark: 0x8, mask: 0x7}}", 5, "act.kernel.mark", ["0x8", "outside", "0x7"]),
    ("act: {kernel: {mark: 8, mask: 0xc}}", 5, "act.kernel.mark", ["1 sites of 2", "more bits"]),
    ("act: {kernel: on}", 5, "act.kernel", ['"on"', "a mapping or off"]),
    ("act: {kernel:}", 5, "act.kernel", ["empty", "a mapping or off"]),
    ("act: {bgp: on}", 5, "act.bgp", ["a mapping or off"]),
    ("status: localhost:9353", 5, "status", ["an address and a port"]),
    ("status: 127.0.0.1", 5, "status", ["an address and a port"]),
    ("status: 127.0.0.1:99999", 5, "status", ["an address and a port"]),
    ("status: '::1:9353'", 5, "status", ["an address and a port"]),
    ("policies: elsewhere", 5, "policies", ["elsewhere does not exist", "directory"]),
    ("policies: steering.yaml", 5, "policies", ["cannot be listed", "directory"]),
    ("policies: 5", 5, "policies", ["is 5", "a path"]),
    ("trust_anchors: root.key", 5, "trust_anchors", ["root.key is not there", "DS or DNSKEY"]),
    ("trust_anchors: policies", 5, "trust_anchors", ["not a regular file"]),
    ("site: pao", 5, "site", ["second time (first in line 1)"]),
    ("  fra: {next_hop: {ipv4: 10.0.0.1}}", 5, "sites.fra", ["second time (first in line 4)"]),
    ("  local: {next_hop: {ipv4: 10.0.0.1}}", 5, "sites.local", ["path without a detour"]),
    ("  a b: {next_hop: {ipv4: 10.0.0.1}}", 5, 'sites["a b"]', ["no name"]),
    ("  sin: {next_hop: {ipv4: 10.0.0.1}}", 5, "sites.sin", ["this site itself"]),
    ("  x:", 5, "sites.x", ["is empty", "mapping"]),
    (
        "  x:\n    capacity: 3",
        5,
        "sites.x.next_hop",
        ["missing", "for one or both address families"],
    ),
    ("  x: {next_hop: {}}", 5, "sites.x.next_hop", ["ipv4, ipv6 or both"]),
    ("  x: {next_hop: {ipv4: 'fd00::1'}}", 5, "sites.x.next_hop.ipv4", ["IPv6", "an IPv4 a"]),
    ("  x: {next_hop: {ipv6: 10.0.0.1}}", 5, "sites.x.next_hop.ipv6", ["IPv4", "an IPv6 a"]),
    ("  x: {next_hop: {ipv6: 'fe80::1'}}", 5, "sites.x.next_hop.ipv6", ["link-local"]),
    ("  x: {next_hop: {ipv6: 'fe80::1%e'}}", 5, "sites.x.next_hop.ipv6", ["interface"]),
    ("  x: {next_hop: {ipv6: 'fe80::1%e'}}", 5, "sites.x.next_hop.ipv6", ["{via:", "dev: e}"]),
    ("  x: {next_hop: {ipv4: {dev: lo}}}", 5, "sites.x.next_hop.ipv4", ["this host itself"]),
    ("  x: {next_hop: {ipv4: {dev: a/b}}}", 5, "sites.x.next_hop.ipv4", ["no interface"]),
    ("  x: {next_hop: {ipv4: {via: 10.1.1.1}}}", 5, "sites.x.next_hop.ipv4", ["dev, or via and"]),
    (
        "  x: {next_hop: {ipv4: {via: 10.1.1.1, dev: e}}}",
        5,
        "sites.x.next_hop.ipv4",
        ["wanted the address alone"],
    ),
    (
        "  x: {next_hop: {ipv6: {via: 'fd00::1', dev: e}}}",
        5,
        "sites.x.next_hop.ipv6",
        ["wanted the address alone"],
    ),
    ("  x: {next_hop: {ipv6: {via: e, dev: e}}}", 5, "sites.x.next_hop.ipv6", ["no address"]),
    ("  x: {next_hop: {ipv4: [10.1.1.1, 10.1.1.2]}}", 5, "sites.x.next_hop.ipv4", ["VRRP"]),
    (
        "  x: {next_hop: {ipv4: {dev: e}}}\n  y: {next_hop: {ipv4: {dev: e}}}",
        6,
        "sites.y.next_hop.ipv4",
        ["hop of x already"],
    ),
    ("  x: {next_hop: {ipv6: '::ffff:1.2.3.4'}}", 5, "sites.x.next_hop.ipv6", ["1.2.3.4"]),
    ("  x: {next_hop: {ipv4: 224.0.0.1}}", 5, "sites.x.next_hop.ipv4", ["multicast"]),
    ("  x: {next_hop: {ipv4: 127.0.0.1}}", 5, "sites.x.next_hop.ipv4", ["this host itself"]),
    ("  x: {next_hop: {ipv4: 10.0.0.1/24}}", 5, "sites.x.next_hop.ipv4", ["no address"]),
    ("  x: {next_hop: {ipv4: 10.255.1.2}}", 5, "sites.x.next_hop.ipv4", ["hop of pao already"]),
    (
        "  x:\n    next_hop:\n      ipv4: 192.5.6.30",
        7,
        "sites.x.next_hop.ipv4",
        ["inside a steered"],
    ),
    ("  x: {next_hop: {ipv4: 10.1.1.1}, capacity: 0}", 5, "sites.x.capacity", ["1 to"]),
    ("? [a]\n: b", 5, "", ["not text"]),
    ("lease: !!python/none x", 5, "lease", ["tag", "plain values"]),
    ("lease: !!int 1.5", 5, "lease", ["no int"]),
    ("lease: !!bool [a]", 5, "lease", ["tag", "plain values"]),
    ("lease: !!float {a: 1}", 5, "lease", ["tag", "plain values"]),
    ("lease: !!null [a]", 5, "lease", ["tag", "plain values"]),
    ("lease: 1e999", 5, "lease", ["finite"]),
    ('lease: "\\ud800"', 5, "lease", ["half a character"]),
    ("observe: &a {probe: *a}", 5, "observe.probe", ["contains itself"]),
    ("lease: [1", 6, "", ["not YAML", "expected ',' or ']'"]),
    ("\tlease: 1s", 5, "", ["a tab"]),
    ("---\nsite: x", 5, "", ["a second document"]),
    ("lease: \x07", 5, "", ["U+0007 is not allowed"]),
    ("lease: *nowhere", 5, "", ["undefined alias"]),
]


@pytest.mark.parametrize(("added", "line", "path", "parts"), BAD_CONFIGS)
def test_what_is_wrong_in_the_configuration_is_said_at_its_line(
    tmp_path: Path, added: str, line: int, path: str, parts: list[str]
) -> None:
    file = place(tmp_path, f"{TWO_SITES}{added}\n")
    problem = only(file)
    assert (problem.file, problem.line, problem.path) == (file, line, path)
    for part in parts:
        assert part in problem.message
    assert str(problem).startswith(f"{file}:{line}: ")


# What is appended to POLICY.
BAD_POLICIES = [
    ("upstraem: x", 5, "upstraem", ["did you mean upstream?"]),
    ("file: x", 5, "file", ["unknown key"]),
    ("operator: Verisign", 5, "operator", ["a mapping"]),
    ("operator: {contact: x}", 5, "operator.name", ["missing"]),
    ("serial: unix", 5, "serial", ['"unix"', "epoch, date or opaque"]),
    ("skew: 2d", 5, "skew", ["0s to 1d"]),
    ("breach:\n  failure_rate: 30", 6, "breach.failure_rate", ["is 30", "a percentage", "(30%?)"]),
    ("breach: {failure_rate: 0.1%}", 5, "breach.failure_rate", ["usual noise"]),
    (
        "breach: {failure_rate: 0.3}",
        5,
        "breach.failure_rate",
        ["is 0.3", "such as 0.3%", "(0.3%?)"],
    ),
    ("breach: {failure_rate: true}", 5, "breach.failure_rate", ["is true", "a percentage"]),
    ("breach: {failure_rate: 101%}", 5, "breach.failure_rate", ["100%"]),
    ("breach: {failure_rate: few}", 5, "breach.failure_rate", ["a percentage"]),
    ("breach: {on: []}", 5, "breach.on", ["at least one"]),
    ("breach: {on: bogus}", 5, "breach.on", ["a list"]),
    (
        "breach: {on: [bogus, bugs]}",
        5,
        "breach.on[1]",
        ['"bugs"', "bogus, timeout, error or stale"],
    ),
    ("breach: {on: [bogus, bogus]}", 5, "breach.on", ["listed twice"]),
    ("breach: {stale: {serial_lag: 3600}}", 5, "breach.stale.serial_lag", ["(3600s?)"]),
    ("recover:\n  hold: 2h", 5, "recover.max_hold", ["is 1h", "the hold of 2h"]),
    ("recover:\n  max_hold: 1m\n  hold: 5m", 6, "recover.max_hold", ["is 1m", "hold of 5m"]),
    ("recover: {clean: 2}", 5, "recover.clean", ["3 to", "show nothing"]),
    ("steer: {at_most: 0}", 5, "steer.at_most", ["1 to"]),
    ("steer: {to: [poa]}", 5, "steer.to[0]", ["poa is no remote site", "did you mean pao?"]),
    ("steer:\n  to:\n  - pao\n  - sin", 8, "steer.to[1]", ["sin is no remote site"]),
    ("steer: {to: [pao, pao]}", 5, "steer.to", ["listed twice"]),
    ("steer: {together: all}", 5, "steer.together", ["address, nameserver or upstream"]),
    ("  a.x: []", 5, 'nameservers["a.x"]', ["at least one"]),
    ("  a.x: 192.0.2.1", 5, 'nameservers["a.x"]', ["a list"]),
    ("  a.x: [ns.example]", 5, 'nameservers["a.x"][0]', ["no address"]),
    ("  a.x:\n  - 192.0.2.1\n  - 'ff02::1'", 7, 'nameservers["a.x"][1]', ["multicast"]),
    ("  a.x: ['::']", 5, 'nameservers["a.x"][0]', ["not the address of a host"]),
    ("  a.x: ['fe80::1']", 5, 'nameservers["a.x"][0]', ["link-local"]),
    ("  a.x: [192.5.6.30]", 5, 'nameservers["a.x"][0]', ["belongs to a.gtld-servers.net."]),
    ("  a..x: [192.0.2.1]", 5, 'nameservers["a..x"]', ["empty label"]),
    ("  '': [192.0.2.1]", 5, 'nameservers[""]', ["empty label"]),
    (f"  {'a' * 64}.x: [192.0.2.1]", 5, f'nameservers["{"a" * 64}.x"]', ["64 octets", "63"]),
    ("  bücher.x: [192.0.2.1]", 5, r'nameservers["b\u00fccher.x"]', ["xn--"]),
    ("  a b.x: [192.0.2.1]", 5, 'nameservers["a b.x"]', ["no domain name"]),
    ("  A.GTLD-servers.net: [192.0.2.1]", 5, 'nameservers["A.GTLD-servers.net"]', ["again"]),
]


@pytest.mark.parametrize(("added", "line", "path", "parts"), BAD_POLICIES)
def test_what_is_wrong_in_a_policy_is_said_at_its_line(
    tmp_path: Path, added: str, line: int, path: str, parts: list[str]
) -> None:
    config = place(tmp_path, TWO_SITES, gtld=f"{POLICY}{added}\n")
    problem = only(config)
    assert (problem.file.name, problem.line, problem.path) == ("gtld.yaml", line, path)
    for part in parts:
        assert part in problem.message


def test_a_name_of_256_octets_is_too_long(tmp_path: Path) -> None:
    longest = ".".join(["a" * 63] * 3 + ["a" * 61])
    load(place(tmp_path, TWO_SITES, gtld=POLICY.replace("com.", longest)))
    problem = only(place(tmp_path, TWO_SITES, gtld=POLICY.replace("com.", f"{longest}a")))
    assert (problem.line, problem.path) == (2, "zones[0]")
    assert "256 octets" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (b"", 1, "is empty"),
        (b"# nothing\n", 1, "is empty"),
        (b"\n- a\n- b\n", 2, "is a list"),
        (b"words\n", 1, "is a single value"),
        (b"site: sin\nmode: \xff\n", 2, "byte 0xff is not UTF-8"),
        (b"[" * 1200, 1, "nested too deeply"),
        (b"a: " + b"[" * 65 + b"]" * 65, 1, "nested too deeply"),
        (b"site: " + b"[" * 1200 + b"]" * 1200, 1, "nested too deeply"),
        (b'site: "\\UFFFFFFFF"', 1, "is not YAML"),
        (b"#" * (1 << 20 | 1), 1, "1048577 bytes long"),
    ],
)
def test_a_file_that_is_no_mapping_says_so(
    tmp_path: Path, text: bytes, line: int, message: str
) -> None:
    file = place(tmp_path)
    file.write_bytes(text)
    problem = only(file)
    assert (problem.file, problem.line, problem.path) == (file, line, "")
    assert message in problem.message


def test_files_that_cannot_be_had_are_problems_too(tmp_path: Path) -> None:
    file = tmp_path / "steering.yaml"
    assert "does not exist" in only(file).message
    file.mkdir()
    assert "not a regular file" in only(file).message
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    assert "not a regular file" in only(tmp_path / "pipe").message
    assert "cannot be read" in only(tmp_path / ("x" * 300)).message


def test_an_unreadable_file_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = place(tmp_path, TWO_SITES + "trust_anchors: root.key\n")
    (tmp_path / "root.key").write_text(".")
    real = os.open

    def refuse(path: str | Path, *args: int, **kwargs: int) -> int:
        if Path(path).name in {"root.key", "gtld.yaml"}:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    policy, anchors = problems(file)
    assert (policy.file.name, policy.line) == ("gtld.yaml", 1)
    assert "cannot be read (Permission denied)" in policy.message
    assert (anchors.line, anchors.path) == (5, "trust_anchors")
    assert "cannot be read" in anchors.message


def test_all_problems_of_all_files_come_at_once_in_order(tmp_path: Path) -> None:
    file = place(
        tmp_path,
        "mode: enforced\nlease: 5\nsites: {pao: {next_hop: {ipv4: x}}}\nlease: 6\n"
        "trust_anchors: none.key\n",
        a=POLICY + "steer: {to: [poa]}\nskew: 1\n",
        b=POLICY + "steer: {to: [poa]}\n",
        c="- a list\n",
        d=POLICY,
    )
    found = [(p.file.name, p.line, p.path) for p in problems(file)]
    assert found == [
        ("a.yaml", 5, "steer.to[0]"),
        ("a.yaml", 6, "skew"),
        ("b.yaml", 5, "steer.to[0]"),
        ("c.yaml", 1, ""),
        ("d.yaml", 1, "upstream"),
        ("d.yaml", 4, 'nameservers["a.gtld-servers.net."][0]'),
        ("d.yaml", 4, 'nameservers["a.gtld-servers.net."][1]'),
        ("steering.yaml", 1, "mode"),
        ("steering.yaml", 1, "site"),
        ("steering.yaml", 2, "lease"),
        ("steering.yaml", 3, "sites.pao.next_hop.ipv4"),
        ("steering.yaml", 4, "lease"),
        ("steering.yaml", 5, "trust_anchors"),
    ]


def test_a_directory_without_policies_is_a_problem(tmp_path: Path) -> None:
    file = place(tmp_path)
    (tmp_path / "policies/gtld.yaml").rename(tmp_path / "policies/gtld.yml")
    (tmp_path / "policies/.hidden.yaml").write_text(POLICY)
    (tmp_path / "policies/overrides.yaml").write_text("overrides: []\n")
    unread, empty = problems(file)
    assert "is not read by this name" in unread.message
    assert (empty.line, empty.path) == (1, "policies")
    assert "holds no policy" in empty.message


def test_overrides_are_no_policy(tmp_path: Path) -> None:
    file = place(tmp_path)
    (tmp_path / "policies/overrides.yaml").write_text("overrides: []\n")
    (tmp_path / "policies/overrides.d").mkdir()
    assert len(load(file).policies) == 1


def test_enforcing_with_nowhere_to_go_is_a_problem(tmp_path: Path) -> None:
    problem = only(place(tmp_path, "site: sin\nsites: {}\n"))
    assert (problem.line, problem.path) == (2, "sites")
    assert load(place(tmp_path, "site: sin\nmode: observe\nsites: {}\n")).config.sites == {}


def test_two_policies_may_claim_a_zone_but_not_an_address(tmp_path: Path) -> None:
    other = "upstream: other\nzones: [com.]\nnameservers: {a.x.: [192.0.2.1]}\n"
    assert len(load(place(tmp_path, TWO_SITES, a=POLICY, b=other)).policies) == 2
    shared = other.replace("192.0.2.1", "192.5.6.30")
    problem = only(place(tmp_path, TWO_SITES, a=POLICY, b=shared))
    assert (problem.file.name, problem.line) == ("b.yaml", 3)
    assert "a.gtld-servers.net. in a.yaml already" in problem.message


def test_aliases_that_multiply_cost_no_more_than_their_file(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    found = problems(place(tmp_path, TWO_SITES + "\n".join(lines)))
    assert {p.message.split(",")[0] for p in found} == {"unknown key"}
    assert len(found) == 40


def test_an_alias_is_an_ordinary_way_to_say_it_once(tmp_path: Path) -> None:
    config = TWO_SITES + "observe: {probe: {interval: &t 1s, fast_interval: *t}}\n"
    assert load(place(tmp_path, config)).config.observe.probe.fast_interval == 1.0


def test_python_may_say_seconds_where_files_need_units() -> None:
    assert Probe(interval=0.5, fast_interval="100ms").interval == 0.5
    with pytest.raises(ValueError, match="wanted at most the interval"):
        Probe(interval=0.1)
    assert Site(next_hop={"ipv4": "10.0.0.1"}).next_hop == {Family.IPV4: "10.0.0.1"}


def test_a_next_hop_is_an_address_or_an_interface_or_a_link_local_address_on_one(
    tmp_path: Path,
) -> None:
    hops = "{ipv4: {dev: tun0}, ipv6: {via: 'FE80::1', dev: eth1}}"
    setup = load(place(tmp_path, f"{TWO_SITES}  x: {{next_hop: {hops}}}\n"))
    wanted = {Family.IPV4: "dev tun0", Family.IPV6: "via fe80::1 dev eth1"}
    assert setup.config.sites["x"].next_hop == wanted
    assert read(write(setup)).config == setup.config
    both = "{ipv4: {dev: tun0}, ipv6: {dev: tun0}}"
    load(place(tmp_path, f"{TWO_SITES}  x: {{next_hop: {both}}}\n"))


def test_values_never_change_once_read(tmp_path: Path) -> None:
    setup = load(place(tmp_path))
    with pytest.raises(ValueError, match="frozen"):
        setup.config.site = "x"  # type: ignore[misc]
    assert load(tmp_path / "steering.yaml") == setup


def test_the_fingerprint_tells_every_change(tmp_path: Path) -> None:
    (tmp_path / "root.key").write_text(".")
    file = place(tmp_path, TWO_SITES + "trust_anchors: root.key\n")
    (overrides := tmp_path / "policies/overrides.d").mkdir()
    seen = [fingerprint(file)]
    assert fingerprint(file) == seen[0]
    (tmp_path / "policies/gtld.yaml").write_text(POLICY + "serial: epoch\n")
    seen.append(fingerprint(file))
    (tmp_path / "policies/new.yaml").write_text(POLICY)
    seen.append(fingerprint(file))
    (overrides / "one.yaml").write_text("overrides: []\n")
    seen.append(fingerprint(file))
    (tmp_path / "root.key").unlink()
    seen.append(fingerprint(file))
    file.write_text(TWO_SITES + "policies: elsewhere\n")
    seen.append(fingerprint(file))
    file.write_text("broken: [\n")
    seen.append(fingerprint(file))
    file.unlink()
    seen.append(fingerprint(file))
    assert len(set(seen)) == len(seen)
    assert seen[-1][0] == (str(file), 0, 0, 0)


PIECES = st.sampled_from(
    [*"\n\t -:[]{}#&*!|>'\"%@`,?~.0x", "\n  ", "site", "sites", "next_hop", "ipv4", "\\U", "\\x",
     "policies", "&a ", "*a", "!!int ", "!!map ", "<<", "off", "1s", "---", "...", "\ufeff", "\x85",
     "nameservers", "zones", "upstream", "act", "kernel", "observe", "\ud800", "é", "1e9999", "=",
     "trust_anchors", "status", "127.0.0.1:1", "0x", "%YAML 1.1", "\0"]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join))


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
@given(config=TEXTS, policy=TEXTS)
@example(config=TWO_SITES, policy=POLICY)
@example(config='site: "\\UFFFFFFFF"', policy="!!map []")
@example(config="policies: '\\0'", policy="a: !!binary x")
@example(config='policies: "\\0"\nsites: []', policy="? {a: b}\n: c")
def test_whatever_is_typed_is_taken_or_refused_in_words(
    tmp_path: Path, config: str, policy: str
) -> None:
    for kept, tried in ((TWO_SITES + config, POLICY + policy), (config, policy)):
        file = place(tmp_path)
        file.write_bytes(kept.encode(errors="surrogatepass"))
        (tmp_path / "policies/gtld.yaml").write_bytes(tried.encode(errors="surrogatepass"))
        fingerprint(file)
        try:
            refused: tuple[Problem, ...] | None = () if load(file).policies else None
        except ConfigError as error:
            refused = error.problems or None
        assert refused is not None
        for problem in refused:
            assert problem.line >= 1
            assert problem.message
            str(problem).encode()


def test_one_document_can_be_checked_by_itself() -> None:
    document = parse(TWO_SITES, Path("/etc/steering/steering.yaml"))
    assert check(Config, document).policies == Path("/etc/steering/policies")
    with pytest.raises(ConfigError, match=r"x\.yaml:1: upstream: is missing"):
        check(Policy, parse("skew: 1s", Path("x.yaml")))


# --- families -------------------------------------------------------------------------------

SIX = """\
upstream: six
zones: [six.]
nameservers:
  a.six.: ["2001:db8::53"]
"""
BOTH = """\
upstream: gtld-servers
zones: [com.]
nameservers:
  a.gtld-servers.net.: [192.5.6.30, "2001:503:a83e::2:30"]
  b.gtld-servers.net.: ["2001:503:231d::2:30"]
"""


def test_addresses_of_a_family_that_this_host_has_not_are_left_out(tmp_path: Path) -> None:
    setup = load(place(tmp_path, f"families: [ipv4]\n{TWO_SITES}", gtld=BOTH))
    assert [t.address for p in setup.policies for t in p.targets] == ["192.5.6.30"]
    assert list(setup.policies[0].nameservers) == ["a.gtld-servers.net."]
    assert setup.policies[0].file == tmp_path / "policies/gtld.yaml"
    assert read(write(setup)).policies[0].targets == setup.policies[0].targets
    claim = claim_of(setup.config)
    assert claim is not None
    assert claim.families == (Family.IPV4,)
    for families in ("", "families: [ipv4, ipv6]\n"):
        setup = load(place(tmp_path, families + TWO_SITES, gtld=BOTH))
        assert len(setup.policies[0].targets) == 3
        claim = claim_of(setup.config)
        assert claim is not None
        assert claim.families == tuple(Family)


@pytest.mark.parametrize(
    ("families", "path", "message"),
    [
        ("[ipv4]", "families", "six in six.yaml has addresses of ipv6 alone, wanted that family"),
        ("[]", "families", "wanted"),
        ("[ipv5]", "families[0]", "ipv5"),
        ("[ipv4, ipv4]", "families", "ipv4"),
    ],
)
def test_families_that_leave_nothing_are_refused(
    tmp_path: Path, families: str, path: str, message: str
) -> None:
    file = place(tmp_path, f"families: {families}\n{TWO_SITES}", gtld=BOTH, six=SIX)
    problem = only(file)
    assert (problem.file, problem.line) == (file, 1)
    assert problem.path.startswith(path)
    assert message in problem.message
