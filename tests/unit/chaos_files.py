"""What a random story is configured with, and how its operators change that."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from simulation import WALL, setup

from steering.config import Setup
from steering.model import Family
from steering.override import Action, Match, Override
from steering.remedies import EVERY_ALARM


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One policy, as it will stand in a file."""

    name: str
    net: int
    letters: tuple[tuple[str, tuple[str, ...]], ...]
    zones: tuple[str, ...]
    on: tuple[str, ...]
    stale: str
    together: str
    gradual: bool
    hold: int
    max_hold: int
    clean: int
    moves_per_day: int
    to: tuple[str, ...]
    at_most: int | None
    qps: int | None
    serial: str

    @property
    def text(self) -> str:
        """The file."""
        letters = "\n".join(f"  {name}: {list(addresses)}" for name, addresses in self.letters)
        steer = [f"together: {self.together}", f"to: [{', '.join(self.to)}]"]
        steer += [f"at_most: {self.at_most}"] if self.at_most else []
        steer += [f"queries_per_second: {self.qps}"] if self.qps else []
        return (
            f"upstream: {self.name}\nzones: [{', '.join(self.zones)}]\nserial: {self.serial}\n"
            f"nameservers:\n{letters}\n"
            f"breach: {{on: [{', '.join(self.on)}]{self.stale}}}\n"
            f"recover: {{hold: {self.hold}s, max_hold: {self.max_hold}s, clean: {self.clean}, "
            f"gradual: {str(self.gradual).lower()}, moves_per_day: {self.moves_per_day}}}\n"
            f"steer: {{{', '.join(steer)}}}\n"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """All that is configured."""

    upstreams: tuple[Upstream, ...]
    sites: Mapping[str, tuple[int, bool, int | None]]
    """Name -> number of its next hop, whether it has one of IPv6, its capacity."""
    budget: str

    @property
    def config(self) -> str:
        """The file `steering.yaml`."""
        sites = "\n".join(
            f"  {name}: {{next_hop: {{ipv4: 10.255.{n}.2"
            + (f', ipv6: "fd00:ff:{n}::2"' if six else "")
            + "}"
            + (f", capacity: {capacity}" if capacity else "")
            + "}"
            for name, (n, six, capacity) in self.sites.items()
        )
        return (
            f"site: sin\nsites:\n{sites}\npolicies: policies\nbudget: {self.budget}\n"
            "observe: {probe: {interval: 1s, fast_interval: 250ms, timeout: 1s}}\n"
        )

    def read(self, tmp: Path) -> Setup:
        """As the agent reads it."""
        for old in (tmp / "policies").glob("*.yaml"):
            old.unlink()
        return setup(tmp, *(u.text for u in self.upstreams), config=self.config)


def files_of(draw: random.Random) -> Files:
    """Any configuration."""
    names = draw.sample(["pao", "fra", "ams", "zrh"], draw.randint(1, 3))
    sites = {
        name: (
            i + 1,
            draw.random() < 0.85,
            draw.choice([None, None, draw.randint(5, 500)]),
        )
        for i, name in enumerate(names)
    }
    return Files(
        upstreams=tuple(_upstream(draw, n, names) for n in range(draw.choice([1, 1, 2, 3, 4, 5]))),
        sites=sites,
        budget=draw.choice(
            [
                "{}",
                "{}",
                f"{{moves_per_minute: {draw.randint(2, 20)}}}",
                f"{{at_once: {draw.randint(1, 6)}, capacity_share: 50%}}",
            ]
        ),
    )


def _upstream(draw: random.Random, n: int, sites: list[str]) -> Upstream:
    hold = draw.choice([0, 5, 15])
    letters = []
    for i in range(draw.choice([1, 2, 2, 3])):
        four, six = f"192.{n + 5}.{i}.30", f"2001:db8:{n + 5}::{i}:30"
        both = draw.choice([(four, six), (four, six), (four, six), (four,), (six,)])
        letters.append((f"{chr(97 + i)}.u{n}.example.", both))
    on = ["bogus", *draw.choice([["timeout", "error"]] * 3 + [[], ["timeout"], ["error"]])]
    acts = draw.random() < 0.4
    return Upstream(
        name=f"u{n}",
        net=n + 5,
        letters=tuple(letters),
        zones=(f"u{n}.", *([f"x{n}."] if draw.random() < 0.3 else [])),
        on=(*on, "stale") if acts else tuple(on),
        stale=draw.choice(["", "", ", stale: {serial_lag: 40s}", ", stale: {serial_lag: 20s}"]),
        together=draw.choice(["address", "nameserver", "upstream", "upstream"]),
        gradual=draw.random() < 0.6,
        hold=hold,
        max_hold=hold * draw.choice([1, 2, 4]),
        clean=draw.choice([10, 20, 40]),
        moves_per_day=draw.choice([1000] * 5 + [6, 12]),
        to=() if draw.random() < 0.5 else tuple(draw.sample(sites, draw.randint(1, len(sites)))),
        at_most=draw.choice([None, None, None, draw.randint(1, 4)]),
        qps=draw.choice([None, None, draw.randint(1, 400)]),
        serial=draw.choice(["opaque", "opaque", "epoch"]),
    )


def override_of(draw: random.Random, files: Files, number: int, now: float) -> Override:
    """Any word of an operator, some of them nonsense."""
    upstream = draw.choice(files.upstreams)
    address = draw.choice([a for _, addresses in upstream.letters for a in addresses])
    action = draw.choice(list(Action))
    match = draw.choice(
        [
            Match(upstream=upstream.name),
            Match(address=address),
            Match(nameserver=upstream.letters[0][0]),
            Match(family=draw.choice(list(Family)), upstream=upstream.name),
            Match(),
            Match(upstream="nobody"),
            Match(upstream=upstream.name, site="lhr"),
        ]
    )
    return Override(
        name=f"o{number}",
        match=match,
        action=action,
        to=draw.choice([*files.sites, *files.sites, "gone"])
        if action in (Action.STEER, Action.AVOID)
        else None,
        until=draw.choice([None, WALL + now + draw.uniform(1, 40)]),
        reason="r",
        by="b",
        alarm=draw.choice(sorted(EVERY_ALARM)) if action is Action.ACKNOWLEDGE else None,
    )


def changed(draw: random.Random, files: Files) -> Files:
    """The files a little later."""
    upstreams, sites = list(files.upstreams), dict(files.sites)
    what = draw.choice(["order", "sites", "policy", "policy", "gone", "site", "hop", "letters"])
    if what == "order":
        draw.shuffle(upstreams)
        sites = dict(draw.sample(list(sites.items()), len(sites)))
    elif what == "sites" and "new" not in sites:
        sites = {"new": (9, draw.random() < 0.5, None), **sites}
    elif what == "policy":
        i = draw.randrange(len(upstreams))
        other = _upstream(draw, 0, list(sites))
        keep = draw.choice([("together",), ("on", "stale"), ("hold", "max_hold", "clean"), ("to",)])
        keep = draw.choice([keep, ("gradual",), ("at_most", "moves_per_day"), ("zones",)])
        new = {name: getattr(other, name) for name in keep}
        if "zones" in new:
            # The first one is the one that a simulation asks for.
            zones = (*upstreams[i].zones, f"y{upstreams[i].net}.")
            new["zones"] = tuple(dict.fromkeys(zones))
        upstreams[i] = replace(upstreams[i], **new)
    elif what == "gone" and len(upstreams) > 1:
        del upstreams[draw.randrange(len(upstreams))]
    elif what == "site" and len(sites) > 1:
        gone = draw.choice(list(sites))
        del sites[gone]
        upstreams = [replace(u, to=tuple(s for s in u.to if s != gone)) for u in upstreams]
    elif what == "hop":
        name = draw.choice(list(sites))
        n, six, capacity = sites[name]
        sites[name] = draw.choice(
            [(n + 20, six, capacity), (n, not six, capacity), (n, six, draw.randint(5, 500))]
        )
    elif what == "letters":
        i = draw.randrange(len(upstreams))
        letters = list(upstreams[i].letters)
        if len(letters) > 1 and draw.random() < 0.5:
            letters.pop(0)
        else:
            k = 7 + draw.randrange(3)
            n = upstreams[i].net
            name = f"{chr(97 + k)}.u{n}.example."
            if name not in dict(letters):
                letters.insert(0, (name, (f"192.{n}.{k}.30", f"2001:db8:{n}::{k}:30")))
        upstreams[i] = replace(upstreams[i], letters=tuple(letters))
    return replace(files, upstreams=tuple(upstreams), sites=sites)
