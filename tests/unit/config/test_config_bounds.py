"""Every bound of the files, made from the schema: what is at it serves, what is beyond is refused.

The values come from the same declarations that the reference is written from, so a bound that is
new, or moved, is tried without a word here. What loads has to do for all that an agent builds from
it: a number that the files allow and the claim refuses would be met by a running agent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import AfterValidator

from steering import bounds, from_config
from steering.act.bgp import render as speaker
from steering.act.kernel import rtnetlink
from steering.act.kernel.actuator import request_for
from steering.act.kernel.claim import Claim
from steering.act.kernel.diff import Change, ChangeKind
from steering.act.kernel.rules import Rule
from steering.agent.components import Components, Lasting
from steering.agent.reload import Version
from steering.config import ConfigError, Mode, Setup, fingerprint, load
from steering.config.base import section_in, some
from steering.config.schema import FILES, _sections, kind_of
from steering.config.types import Kind as ValueKind
from steering.config.types import duration_text, octets, seconds
from steering.config_diff import file_changes
from steering.decide.fast_probing import attention
from steering.decide.messages.explain import explain
from steering.decide.state import State
from steering.engine import engine
from steering.engine.carry_over import recall, remember
from steering.facts import Facts
from steering.journal import setups
from steering.journal.records import pack_state, unpack_state
from steering.model import (
    LOCAL,
    Evidence,
    Family,
    Heard,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
)
from steering.observe.probe.prober import Prober
from steering.observe.strays import Strays
from steering.report.snapshot import Snapshot
from steering.report.status import status

Json = Any
WALL = 1_700_000_000.0

FULL: Mapping[str, Json] = {
    "steering": {
        "site": "sin",
        "sites": {
            "pao": {"next_hop": {"ipv4": "10.255.1.2", "ipv6": "fd00:ff:1::2"}, "capacity": 1000},
            "fra": {"next_hop": {"ipv4": "10.255.2.2", "ipv6": "fd00:ff:2::2"}},
        },
        "resolver_sources": {"ipv4": ["10.0.0.53"], "ipv6": ["2001:db8::53"]},
        "resolvers": ["127.0.0.1"],
        "transit_interfaces": ["bb-pao"],
        "notify": {
            "webhooks": {"chat": {"url": "https://hooks.example.net/x"}},
            "alertmanagers": {"am": {"urls": ["http://10.0.0.9:9093"], "labels": {"team": "dns"}}},
            "commands": {"page": {"argv": ["/usr/local/bin/page"]}},
        },
        "observe": {
            "dnstap": [],
            "probe": {"pins": {"local": {"dscp": 10}, "pao": {"dscp": 12}}},
        },
        "act": {
            "kernel": {},
            "bgp": {
                "local_as": 64512,
                "router_id": "10.0.0.1",
                "neighbors": [{"address": "10.0.0.2", "peer_as": 64512}],
                "next_hop": {"pao": {"ipv4": "10.255.1.3"}},
            },
        },
        "flush": {"unbound": {}, "bind": {}, "pdns-recursor": {}},
        "rootzone": {
            "sources": ["192.0.32.132"],
            "publish": {"cache-1": {"file": "/var/lib/unbound/root.zone"}},
        },
    },
    "policy": {
        "upstream": "gtld",
        "operator": {"name": "Foo"},
        "zones": ["gtld."],
        "nameservers": {"a.gtld.example.": ["192.5.5.30", "2001:db8:5::30"]},
        "steer": {"to": ["pao", "fra"]},
        "serial": "epoch",
    },
    "zone-copy": {
        "zone_copy": "root",
        "servers": ["192.5.5.241"],
        "resolvers": {
            "cache-1": {
                "file": "/var/lib/unbound/root.zone",
                "clients": ["10.0.0.53"],
                "through": ["10.0.1.53"],
                "command": ["/usr/local/sbin/copy", "out"],
                "restore": ["/usr/local/sbin/copy", "back"],
            }
        },
    },
    "overrides": {
        "overrides": [
            {
                "name": "x",
                "match": {"family": "ipv6"},
                "action": "steer",
                "to": "pao",
                "until": "never",
                "reason": "4711",
                "by": "noc",
            }
        ]
    },
}
"""Files with every section in them."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Values at the bounds of one kind of value, and one step beyond each."""

    at: tuple[Json, ...]
    beyond: tuple[Json, ...]


def _whole(low: int, high: int, schema: Json) -> Limits:
    taken = schema.get("not", {}).get("enum", ())
    return Limits(at=(low, high), beyond=(low - 1, high + 1, *taken))


def _duration(low: str, high: str, _schema: Json) -> Limits:
    least, most = seconds(low), seconds(high)
    less = [f"{1000 * least - 1:.0f}ms"] if least else ["-1ms"]
    return Limits(at=(low, high), beyond=(*less, f"{most * 1000 + 1:.0f}ms"))


def _size(low: str, high: str, _schema: Json) -> Limits:
    return Limits(at=(low, high), beyond=(f"{octets(low) // 1000 - 1}kB", f"1{high}"))


def _share(low: str, high: str, _schema: Json) -> Limits:
    assert high == "100%"
    least = float(low.removesuffix("%"))
    return Limits(at=(low, high), beyond=(f"{least - 0.001:.3f}%", "100.001%", 1, least / 100))


def _community(parts: int, bits: int) -> Limits:
    at = [":".join([number] * parts) for number in ("0", str(2**bits - 1))]
    one_more = ["1"] * (parts - 1) + [str(2**bits)]
    return Limits(at=(at[0], at[1]), beyond=(":".join(one_more), f"{at[0]}:0"))


_LONGEST = ".".join(["a" * 63] * 3 + ["b" * 61])  # 255 octets on the wire
LIMITS: Mapping[str, Callable[[Any, Any, Json], Limits] | Limits | None] = {
    "whole number": _whole,
    "duration": _duration,
    "size": _size,
    "share": _share,
    "community": _community(parts=2, bits=16),
    "large community": _community(parts=3, bits=32),
    "name": Limits(at=("a", "b" * 63), beyond=("", "b" * 64)),
    "URL": Limits(
        at=("http://a", "https://[2001:db8::1]:65535/x?y=z", "http://192.0.2.1:1/"),
        beyond=(
            "",
            "ftp://a",
            "http://",
            "http://a:0/",
            "http://a:65536/",
            "http://u:p@a/",
            "http://[::1",
        ),
    ),
    "host name": Limits(at=("a", "a" * 63, "x.example."), beyond=("", "a" * 64, "a b", "a..b")),
    "domain name": Limits(at=(".", "a", "a" * 63, _LONGEST), beyond=("", "a" * 64, f"{_LONGEST}b")),
    "text": Limits(at=("a", "a" * 100_000), beyond=("", " ")),
    "path": Limits(at=("a",), beyond=("",)),
    "permissions": Limits(at=("000", "0777"), beyond=("00", "1000", "0778")),
    "interface": Limits(at=("b", "b" * 15), beyond=("", "b" * 16)),
    "prefix": Limits(
        at=("0.0.0.0/0", "10.88.0.7/32", "::/0", "fd88::7/128"),
        beyond=("", "10.88.0.0", "10.88.0.7/33", "fd88::/129", "10.88.0.7/16", "/8"),
    ),
    "socket path or tcp://address:port": Limits(
        at=("/" + "b" * 106, "tcp://127.0.0.1:0", "tcp://[::1]:65535"),
        beyond=("", "/" + "b" * 107, "tcp://127.0.0.1:65536"),
    ),
    "address:port": Limits(
        at=("127.0.0.1:0", "[::1]:65535"), beyond=("127.0.0.1", "127.0.0.1:", "127.0.0.1:65536")
    ),
    "`true` or `false`": None,
    "ipv4, ipv6": None,
    "address": None,
    "IPv4 address": None,
    "IPv6 address": None,
    "address or {address, interface}": None,
    "address, {dev} or {via, dev}": None,
    "time or `never`": None,
}
"""What is tried of each kind, by its word in the reference; None: it has no bounds."""

GIVES_WAY: Mapping[tuple[str, str], Callable[[Json], Mapping[str, Json]]] = {
    ("observe.probe", "interval"): lambda value: {
        "fast_interval": min((value, "200ms"), key=seconds)
    },
    ("observe.probe", "fast_interval"): lambda value: {
        "interval": max((value, "10s"), key=seconds)
    },
    ("recover", "hold"): lambda value: {"max_hold": max((value, "1h"), key=seconds)},
    ("recover", "max_hold"): lambda value: {"hold": min((value, "5m"), key=seconds)},
    ("act.kernel", "mask"): lambda _value: {"mark": 1},
}
"""Keys beside the one that is tried, which would otherwise contradict it."""

SHORT = {("act.kernel", "table"): 2, ("act.kernel", "mark"): 2}
"""Numbers that stand for a block, with one more for each of two sites: its end is the bound."""

OF_SITES = frozenset(
    {
        "steering: .sites",
        "steering: observe.probe.pins",
        "steering: act.bgp.next_hop",
        "policy: steer.to",
        "overrides: overrides[].to",
        "overrides: overrides[].match.site",
    }
)
"""Keys that hold names of sites, which have to be there."""

NOT_HERE = {
    ("", "policies"): "the directory has to be there",
    ("", "trust_anchors"): "the file has to be there",
    ("", "site"): "tried below",
}


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of the files that holds a value with bounds."""

    file: str
    section: str
    name: str
    form: type
    """What it holds: such a value (`str`), a list of them, or a mapping from them (`dict`)."""
    kind: ValueKind

    @property
    def path(self) -> str:
        return f"{self.file}: {self.section}.{self.name}"

    def limits(self) -> Limits:
        kind, found = self.kind, LIMITS[self.kind.word]
        assert found is not None
        return found if isinstance(found, Limits) else found(kind.low, kind.high, kind.schema)


def _keys() -> Iterator[Key]:
    for file, model in FILES.items():
        for section, declared in _sections(model):
            for name in declared.known():
                field = declared.field(name)
                kind = kind_of(field.annotation, field.metadata)
                if kind is None and section_in(field.annotation) is None:
                    kind = _in_list(field.annotation)
                if kind is not None and LIMITS[kind.word] is not None:
                    if (section, name) in NOT_HERE and file == "steering":
                        continue
                    yield Key(
                        file=file,
                        section=section,
                        name=name,
                        form=_form(field.annotation),
                        kind=kind,
                    )


def _form(annotation: object) -> type:
    if get_origin(annotation) is Mapping:
        return dict
    if get_origin(annotation) is tuple:
        return list
    return next((f for part in get_args(annotation) if (f := _form(part)) is not str), str)


def _in_list(annotation: object) -> ValueKind | None:
    """The kind of the values of a list."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        found = kind_of(inner, marks)
        return found or _in_list(inner)
    if get_origin(annotation) is tuple:
        return _in_list(get_args(annotation)[0])
    return next((k for part in get_args(annotation) if (k := _in_list(part))), None)


KEYS = tuple(_keys())
AT = [(key, value) for key in KEYS for value in key.limits().at]
BEYOND = [(key, value) for key in KEYS for value in key.limits().beyond]


def _named(item: object) -> str:
    if isinstance(item, Key):
        return item.path
    text = str(item)
    return text if len(text) < 20 else f"{text[:8]}-{len(text)}"


def _files(key: Key, value: Json) -> dict[str, Json]:
    """The files with this value at that key."""
    made = deepcopy(dict(FULL))
    at = _inside(made[key.file], key.section)
    if key.form is dict:
        value = {value: next(iter(at[key.name].values()))}
    at[key.name] = [value] if key.form is list else value
    if key.path == "overrides: overrides[].alarm":
        at["action"] = "acknowledge"
        del at["to"]
    return made


def _inside(values: Json, section: str) -> Json:
    for part in filter(None, section.split(".")):
        name = part.removesuffix("[]")
        if name == "NAME":
            name = next(iter(values))
        values = values.setdefault(name, {})
        if part.endswith("[]"):
            values = values[0]
    return values


def _loaded(tmp: Path, files: Mapping[str, Json]) -> Version:
    directory = tmp / "policies"
    directory.mkdir(exist_ok=True)
    config = {"state": str(tmp / "state"), "runtime": str(tmp / "runtime"), **files["steering"]}
    config["rootzone"] = _of_a_kind(config["rootzone"], "publish")
    (tmp / "steering.yaml").write_text(json.dumps(config))
    (directory / "gtld.yaml").write_text(json.dumps(files["policy"]))
    (directory / "copy.yaml").write_text(json.dumps(_of_a_kind(files["zone-copy"], "resolvers")))
    (directory / "overrides.yaml").write_text(json.dumps(files["overrides"]))
    path = tmp / "steering.yaml"
    return Version.of(load(path), fingerprint(path))


def _of_a_kind(section: Json, key: str) -> Json:
    """Each of its resolvers is of one kind: of that which is tried, else Unbound."""
    kinds = {"unbound", "bind", "pdns-recursor", "knot-resolver"}
    resolvers = {
        name: {**one, **({} if kinds & one.keys() else {"unbound": {}})}
        for name, one in section[key].items()
    }
    return {**section, key: resolvers}


def _fitting(key: Key, value: Json) -> dict[str, Json]:
    """The files with this value at that key, and the rest of them so that it can be."""
    files = _files(key, value)
    at = _inside(files[key.file], key.section)
    at |= GIVES_WAY.get((key.section, key.name), lambda _: {})(value)
    if (key.section, key.name) in SHORT and value == bounds.U32:
        at[key.name] = value - SHORT[key.section, key.name]
    return _renamed(files, value) if key.path in OF_SITES else files


def _renamed(files: Mapping[str, Json], name: str) -> dict[str, Json]:
    """The files with a site of another name."""
    made: dict[str, Json] = json.loads(json.dumps(files).replace('"pao"', json.dumps(name)))
    sites = made["steering"]["sites"]
    sites.setdefault(name, FULL["steering"]["sites"]["pao"])
    made["steering"]["sites"] = {name: sites[name], "fra": FULL["steering"]["sites"]["fra"]}
    return made


# --- the tests ----------------------------------------------------------------------------------


def test_every_kind_of_value_is_known_here() -> None:
    assert {key.kind.word for key in KEYS} == {kind for kind in LIMITS if LIMITS[kind]}
    assert len(KEYS) > 55


def test_what_is_tried_is_all_that_the_reference_gives_bounds_of() -> None:
    reference = Path(__file__).parents[3] / "docs/reference/configuration.md"
    told = set(
        re.findall(r"^\| `(\w+)` .*From \S+ to \S+\. \|$", reference.read_text(), re.MULTILINE)
    )
    assert told == {key.name for key in KEYS if key.kind.low is not None}


@pytest.mark.parametrize(("key", "value"), AT, ids=_named)
def test_what_is_at_a_bound_does_for_all_that_is_built_from_it(
    tmp_path: Path, key: Key, value: Json
) -> None:
    build(_loaded(tmp_path, _fitting(key, value)))


@pytest.mark.parametrize(("key", "value"), BEYOND, ids=_named)
def test_what_is_beyond_a_bound_is_refused_by_the_name_of_its_key(
    tmp_path: Path, key: Key, value: Json
) -> None:
    with pytest.raises(ConfigError) as refused:
        _loaded(tmp_path, _files(key, value))
    told = [str(problem) for problem in refused.value.problems]
    named = re.compile(rf"\b{key.name}\b")
    mine = [line for line in told if named.search(line.split(": ", 2)[1])]
    assert mine, told
    assert any(re.search("wanted|at most", line) for line in mine), mine


LISTS = [
    (file, section, name)
    for file, model in FILES.items()
    for section, declared in _sections(model)
    for name in declared.known()
    if any(
        isinstance(mark, AfterValidator) and mark.func is some
        for mark in (
            *declared.field(name).metadata,
            *(
                mark
                for part in get_args(declared.field(name).annotation)
                if get_origin(part) is Annotated
                for mark in get_args(part)[1:]
            ),
        )
    )
]


@pytest.mark.parametrize(("file", "section", "name"), LISTS, ids=str)
def test_a_list_that_has_to_hold_something_is_refused_empty(
    tmp_path: Path, file: str, section: str, name: str
) -> None:
    files = deepcopy(dict(FULL))
    at = _inside(files[file], section)
    at[name] = {} if isinstance(at.get(name), dict) else []
    with pytest.raises(ConfigError) as refused:
        _loaded(tmp_path, files)
    assert any(f"{name}: is empty, wanted" in str(one) for one in refused.value.problems)


def test_the_lists_that_have_to_hold_something_are_found() -> None:
    assert {name for _, _, name in LISTS} == {
        "resolvers", "neighbors", "families", "zones", "nameservers", "on", "urls", "argv",
        "control", "check", "sockets", "clients", "command", "restore", "sources",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["table", "mark"])
@pytest.mark.parametrize("sites", [1, 2, 3])
def test_a_block_of_numbers_ends_where_the_claim_says_it_does(
    tmp_path: Path, name: str, sites: int
) -> None:
    files = deepcopy(dict(FULL))
    config = files["steering"]
    config["sites"] = {
        f"s{i}": {"next_hop": {"ipv4": f"10.255.{i}.2"}} for i in range(1, sites + 1)
    }
    config["act"]["bgp"]["next_hop"], config["observe"] = {}, {}
    files["policy"]["steer"], files["overrides"] = {}, {"overrides": []}
    starts = [bounds.U32 - sites]
    if name == "table":
        starts += [min(bounds.SYSTEM_TABLES) - 1 - sites, max(bounds.SYSTEM_TABLES) + 1]
    for start in starts:
        config["act"]["kernel"] = {name: start}
        build(_loaded(tmp_path, files))
    beyond = [bounds.U32 - sites + 1]
    if name == "table":
        beyond += [min(bounds.SYSTEM_TABLES) - sites, max(bounds.SYSTEM_TABLES)]
    for start in beyond:
        config["act"]["kernel"] = {name: start}
        with pytest.raises(ConfigError, match=f"act.kernel.{name}: .*wanted"):
            _loaded(tmp_path, files)


def test_the_name_of_this_site_may_be_as_long_as_names_are(tmp_path: Path) -> None:
    for length in (1, 63):
        files = deepcopy(dict(FULL))
        files["steering"]["site"] = "s" * length
        build(_loaded(tmp_path, files))
    for name in ("", "s" * 64, "local"):
        files = deepcopy(dict(FULL))
        files["steering"]["site"] = name
        with pytest.raises(ConfigError, match=r"steering.yaml:1: site: .*wanted"):
            _loaded(tmp_path, files)


@pytest.mark.parametrize("address", ["169.254.7.1", "0.0.0.1", "240.0.0.1", "10.0.0.0"])
def test_a_next_hop_that_the_files_allow_is_one_that_the_claim_allows(
    tmp_path: Path, address: str
) -> None:
    files = deepcopy(dict(FULL))
    files["steering"]["sites"]["fra"]["next_hop"]["ipv4"] = address
    build(_loaded(tmp_path, files))


# --- all that an agent builds -------------------------------------------------------------------


def build(version: Version) -> None:
    """As much as is built without a right on this host, and some turns by it."""
    setup = version.setup
    claim = from_config.claim_of(setup.config)
    assert claim is not None
    _claimed(claim, setup)
    _said(setup, claim)
    _outfit(version)
    _kept(setup)
    _turned(version)


def _claimed(claim: Claim, setup: Setup) -> None:
    assert Claim.from_json(claim.to_json()) == claim
    assert claim.preferences[0] > 0
    assert claim.preferences[-1] < 32766
    assert from_config.acting_claim_of(setup.config) == claim
    addresses = from_config.addresses_of(setup)
    ours: list[rtnetlink.Route | Rule] = [*claim.probe_routes(addresses)]
    for family in claim.families:
        ours += claim.rules(family)
    for what in ours:
        for act in (ChangeKind.ADD, ChangeKind.REMOVE):
            assert request_for(Change(act=act, what=what)).body
    for target in setup.policies[0].targets:
        for site in claim.sites:
            if claim.next_hop(site, target.family):
                assert rtnetlink.route_body(claim.steer(target.address, site))
        assert set(claim.questions(target.family)) <= set(claim.rules(target.family))


def _said(setup: Setup, claim: Claim) -> None:
    terms = from_config.bgp_settings_of(setup.config)
    assert terms is not None
    address = setup.policies[0].targets[0].address
    site = next(name for name in claim.sites if claim.next_hop(name, Family.IPV4))
    table = {address: terms.attributes(address, site)}
    assert speaker.configuration(
        terms, helper=("python",), passwords={}, local={"10.0.0.2": "10.0.0.1"}, routes=table
    )
    assert speaker.announcements("10.0.0.2", table)
    assert speaker.environment(terms)


def _outfit(version: Version) -> None:
    """The real one, of an agent that may not write and listens nowhere; and how it would ask."""
    config = version.setup.config
    assert len(from_config.dnstap_places(config)) == len(config.observe.dnstap)
    observing = config.model_copy(
        update={
            "mode": Mode.OBSERVE,
            "act": config.act.model_copy(update={"kernel": None}),
            "observe": config.observe.model_copy(update={"dnstap": ()}),
        }
    )
    unused: Any = None
    lasting = Lasting(
        switch=unused, state_off=lambda: False, deliver=lambda _: None, strays=Strays()
    )
    components = Components(
        replace(version, setup=replace(version.setup, config=observing)), lasting
    )
    Prober(
        version.index.targets,
        from_config.probed_policies(version.setup.policies),
        from_config.probed_paths(from_config.claim_of(config), config),
        from_config.pace_of(config),
        keys=components.keys,
        signatures=components.signatures,
        deliver=lambda _: None,
        known=version.delegations,
    )
    components.close()


def _kept(setup: Setup) -> None:
    # What concerns copies of zones is no part of a turn.
    assert not file_changes(replace(setup, copies=()), setups.read(setups.write(setup)))


def _turned(version: Version) -> None:
    """Asked, heard, bad here and good there, until whatever the bounds allow has happened."""
    index, now = version.index, 1000.0
    state = State.blank(index, now, WALL + now)
    installed: Mapping[str, str] = {}
    for number in range(24):
        now += 1.0
        bad = number > 4
        rounds = tuple(_round(t.address, version, now, bad=bad) for t in index.targets)
        heard = tuple(
            Heard(
                address=t.address,
                path=installed.get(t.address, LOCAL),
                at=now - 0.2,
                answers=40,
                counts={Outcome.EXPIRED if bad else Outcome.SECURE: 40},
                expires=WALL + 500_000,
            )
            for t in index.targets
        )
        facts = Facts(
            wall=WALL + now,
            rounds=rounds,
            heard=heard,
            installed=installed,
            off=number == 20,
            overrides=version.setup.overrides if number > 16 else (),
        )
        state, _, _ = engine.turn(state, facts, now)
        installed = state.steers()
        assert attention(state) is not None
    for target in index.targets:
        assert explain(state, target.address)
    assert json.dumps(
        status(
            Snapshot(
                mode="enforce",
                state=state,
                installed=installed,
                alarms=state.alarms,
                ready=True,
                turned_at=now,
            )
        )
    )
    recall(State.blank(index, now, WALL + now + 1), remember(state))
    assert unpack_state(pack_state(state), index).now == state.now


def _round(address: str, version: Version, now: float, *, bad: bool) -> Round:
    zone = version.index.settings[address].policy.zones[0]
    name = zone if len(zone) > 240 else f"n.{zone.removeprefix('.')}"
    seen = tuple(
        Observation(
            address=address,
            path=path,
            outcome=Outcome.EXPIRED if bad and path == LOCAL else Outcome.SECURE,
            reached=True,
            rtt=0.01,
            serial=int(WALL),
            expires=WALL + 500_000,
            evidence=Evidence(owner=name, rdtype="NSEC3", detail="expired") if bad else None,
        )
        for path in version.index.paths
    )
    question = Question(zone=zone, name=name, rdtype="A", kind=Kind.DENIAL)
    return Round(address=address, question=question, at=now, observations=seen)


def test_a_bound_of_time_is_written_as_it_is_read() -> None:
    for key in KEYS:
        if key.kind.word == "duration":
            for text in map(str, (key.kind.low, key.kind.high)):
                assert seconds(duration_text(seconds(text))) == seconds(text)
