"""What is recorded: the shipped scenarios, and stories out of a number."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from chaos import Acts, Trial
from chaos_files import Files, files_of
from chaos_truth import NOISE, Fault, Truth
from long_random import by_dice
from random_facts import turns_of
from simulation import CONFIG, WALL, Ask, Shown, policy, setup

from steering.decide.state import State
from steering.engine import engine
from steering.facts import Facts, Forwarded, Passed
from steering.index import Index
from steering.model import LOCAL, WITHOUT_AUTHORITY, Failure, Family, Heard, Outcome, Round, Seconds
from steering.override import Action, Match, Override
from steering.replay.scenario import LoadedScenario, load_scenario
from steering.replay.simulate import Simulation

SCENARIOS: Final = Path(__file__).parents[2] / "scenarios"
GRID: Final[Seconds] = 6 * 3600.0
"""Of the expirations in scenarios and labs, whose signatures live for weeks."""
CHAOS, AIMED, LONG, ODD = 140, 20, 30, 20
"""So many random stories of each kind."""
CHAOS_TURNS, LONG_TURNS, PART_TURNS = 500, 800, 300
"""Most turns of a story, and of the part of a scenario in which it begins."""
LEAD: Final = 20.0
"""Seconds before its first change with which such a part begins."""

Anew = Callable[[], None]
"""Says that the next agent knows of none before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Something that runs the engine."""

    name: str
    play: Callable[[Path, Anew], object]
    most: int | None = None
    """Turns, after which it is over."""
    grid: Seconds | None = None
    """Expirations are in steps of so long."""


def stories() -> Iterator[Story]:
    """All of them."""
    for file in sorted(SCENARIOS.glob("*.yaml")):
        yield Story(name=f"scenario-{file.stem}", play=partial(scenario, file), grid=GRID)
        yield Story(name=f"part-{file.stem}", play=partial(part, file), most=PART_TURNS, grid=GRID)
    for seed in range(CHAOS):
        yield Story(name=f"chaos-{seed:03}", play=partial(chaos, seed), most=CHAOS_TURNS)
    for seed in range(AIMED):
        yield Story(name=f"aimed-{seed:03}", play=partial(aimed, seed), most=LONG_TURNS)
    for seed in range(LONG):
        yield Story(name=f"long-{seed:03}", play=partial(long, seed), most=LONG_TURNS)
    for seed in range(ODD):
        yield Story(name=f"odd-{seed:03}", play=partial(odd, seed))


# --- scenarios ------------------------------------------------------------------------------


def scenario(file: Path, _tmp: Path, _anew: Anew) -> None:
    """A shipped one, as `steering replay --scenario` runs it."""
    _run(load_scenario(file))


def part(file: Path, _tmp: Path, _anew: Anew) -> None:
    """From shortly before the first thing that happens in it."""
    loaded = load_scenario(file)
    first = min(at for at in Simulation(loaded).servers.changes() if at > loaded.scenario.begins)
    _run(replace(loaded, scenario=loaded.scenario.model_copy(update={"begins": first - LEAD})))


def _run(loaded: LoadedScenario) -> None:
    for _ in Simulation(loaded):
        pass


# --- hours ----------------------------------------------------------------------------------


def long(seed: int, tmp: Path, _anew: Anew) -> None:
    """An hour at the shipped cadence, against a truth."""
    dice = random.Random(seed)
    number = dice.choice([1, 2, 2, 3])
    addresses = max(2 * number, dice.choice([4, 8, 12, 26]))
    by_dice(seed, hours=1.2, number=number).played(tmp, number=number, addresses=addresses)


# --- anything at all ------------------------------------------------------------------------


def odd(seed: int, tmp: Path, anew: Anew) -> None:
    """Facts that need not fit together, some turns each, in every mode."""
    for number in range(10):
        anew()
        mode = ("enforce", "enforce", "rehearse", "observe")[(seed + number) % 4]
        more = "serial: epoch\nbreach: {on: [bogus, timeout, error, stale]}\n"
        index = Index.of(
            setup(
                tmp,
                policy(letters=2, more=more + "steer: {at_most: 3}\n"),
                policy("root", letters=1, net=6),
                config=f"{CONFIG}mode: {mode}\n",
            )
        )
        world = State.blank(index, 1000.0, WALL)
        for facts, now in turns_of(1000 * seed + number):
            world, _, _ = engine.turn(world, replace(facts, memory=None), now)


# --- chaos ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class MoreFiles(Files):
    """Files with a mode."""

    mode: str = "enforce"

    @property
    def config(self) -> str:
        """The file `steering.yaml`."""
        return f"{super().config}mode: {self.mode}\n"


POD, OTHER = "10.88.0.7", "fd00:88::7"
FORWARDED: Final[Mapping[Family, tuple[str, str]]] = {
    Family.IPV4: (POD, "192.0.2.1"),
    Family.IPV6: (OTHER, ""),
}
SOURCES: Final[Mapping[Family, tuple[str, ...]]] = {
    Family.IPV4: ("192.0.2.1", "192.0.2.2"),
    Family.IPV6: ("2001:db8::1", "2001:db8::2@vrf"),
}


@dataclass
class More(Trial):
    """A trial that knows of all facts there are. Nothing is checked: that is for the tests."""

    deaf: set[tuple[str, str]] = field(default_factory=set)
    """(path, source) to which no answers come back."""
    streamless: set[str] = field(default_factory=set)
    """Paths that carry no TCP."""
    narrow: set[str] = field(default_factory=set)
    """Paths that carry no large answers."""
    large: bool = False
    """Some answers are."""
    marks_dropped: bool = False
    unmarked_alone: frozenset[str] = frozenset()
    """Addresses that answer what has no mark alone, over the local path."""
    shut: Family | None = None
    proxied: bool = False
    senders: Mapping[Family, tuple[Forwarded, ...]] = field(default_factory=dict)
    lost_for: set[str] = field(default_factory=set)
    """Sites over which forwarded packets, and those of the resolvers, get no answers."""
    bypassed: frozenset[str] = frozenset()
    mixed: bool = False
    """Several servers answer, in turns."""

    def check(self, *_: object) -> None:
        """Nothing."""

    def hear(self, events: Iterable[object]) -> None:
        """Nothing."""

    def facts(self, rounds: Iterable[Round]) -> Facts:
        """With who sends through this host, and what goes past any steer."""
        facts = super().facts(rounds)
        passed = []
        for address, site in self.installed.items():
            for sender in self.senders.get(Family.of(address), ()):
                if self.draw.random() < 0.3:
                    lost = site in self.lost_for
                    number = self.draw.randint(1, 5)
                    passed.append(
                        Passed(
                            address=address,
                            path=site,
                            source=sender.source,
                            answered=0 if lost else number,
                            lost=number if lost else 0,
                        )
                    )
        return replace(facts, forwarded=self.senders, bypassed=self.bypassed, passed=tuple(passed))

    def answered(self, ask: Ask) -> Outcome | Shown:
        """What comes back of a question, by the truth and all that is in the way."""
        family = Family.IPV6 if ask.v6 else Family.IPV4
        if family is self.shut and ask.path == LOCAL:
            return Outcome.LOCAL_ERROR
        if (ask.path, ask.source) in self.deaf or (
            (self.marks_dropped or ask.address in self.unmarked_alone)
            and ask.path == LOCAL
            and not ask.live
        ):
            return Outcome.TIMEOUT
        if ask.tcp and ask.path in self.streamless:
            return Shown(outcome=Outcome.TIMEOUT, stalled=True)
        said = self.truth.answer(ask)
        shown = Shown(outcome=said) if isinstance(said, Outcome) else said
        if self.large and ask.unlucky(0.4, "large"):
            if ask.path in self.narrow:
                return Outcome.TIMEOUT
            shown = replace(shown, large=1400)
        if self.mixed and shown.nsid:
            shown = replace(shown, nsid=f"{shown.nsid}-{int(ask.now) % 50}")
        if self.proxied and ask.path == LOCAL and shown.outcome is not Outcome.TIMEOUT:
            shown = replace(shown, nsid="proxy")
            if ask.unlucky(0.7, "cache"):
                return replace(shown, outcome=Outcome.LAME, detail=WITHOUT_AUTHORITY)
        return shown

    def _heard(self, address: str, number: int) -> Heard:
        heard = super()._heard(address, number)
        heard = replace(heard, failures=heard.failures[:3])
        if heard.path in self.lost_for:
            counts = {Outcome.TIMEOUT: sum(heard.counts.values())}
            return replace(heard, answers=0, counts=counts, failures=(), overdue=number)
        if self.draw.random() < 0.9:
            return heard
        zone = self.index.settings[address].policy.zones[0]
        disproved: tuple[Failure, ...] = tuple(
            replace(one, outcome=Outcome.BAD_SIGNATURE) for one in heard.failures[:2]
        )
        return replace(
            heard,
            disproved=disproved,
            serials={zone: int(WALL + self.now)},
            expires=WALL + self.now + self.draw.choice([-1.0, 100.0, 1e6]),
            overdue=self.draw.choice([0, 0, 3]),
        )


@dataclass
class MoreActs(Acts):
    """What may befall it besides."""

    ANY: Final[tuple[str, ...]] = (
        *Acts.ALL,
        *("mode", "sources", "deaf", "tcp", "large", "marks", "family", "proxy"),
        *("forward", "forward", "lose", "bypass", "resolvers"),
    )

    @property
    def more(self) -> More:
        """The trial."""
        assert isinstance(self.trial, More)
        return self.trial

    def _site(self) -> str:
        return self.draw.choice([*self.files.sites])

    def mode(self) -> None:
        """Another one."""
        mode = self.draw.choice(["enforce", "enforce", "rehearse", "observe"])
        files = self.files
        assert isinstance(files, MoreFiles)
        self.trial.reload(replace(files, mode=mode), self.tmp)
        self.trial.turn()

    def sources(self) -> None:
        """The resolvers send from elsewhere."""
        self.trial.sources = self.draw.choice([{}, SOURCES, SOURCES])

    def deaf(self) -> None:
        """No answers come back to one source over a path; or they do again."""
        if self.more.deaf and self.draw.random() < 0.5:
            self.more.deaf.clear()
            return
        path = self.draw.choice([LOCAL, *self.files.sites, *self.files.sites])
        self.trial.sources = SOURCES
        self.more.deaf |= {(path, self.draw.choice(SOURCES[family])) for family in Family}

    def tcp(self) -> None:
        """Some questions go by TCP, which a site may not carry."""
        self.trial.tcp_every = self.draw.choice([2, 3, 5])
        self.more.streamless = {self._site()} if self.draw.random() < 0.7 else set()

    def large(self) -> None:
        """Some answers are large, and a site may not carry them."""
        self.more.large = True
        self.more.narrow = {self._site()} if self.draw.random() < 0.7 else set()

    def marks(self) -> None:
        """A firewall drops what has our mark; or does so no longer."""
        self.more.marks_dropped = not self.more.marks_dropped

    def family(self) -> None:
        """A family has no route any more; or has one again."""
        self.more.shut = self.draw.choice([None, *Family])

    def proxy(self) -> None:
        """Something answers in the nameservers' place; or does so no longer."""
        self.more.proxied = not self.more.proxied

    def forward(self) -> None:
        """Somebody sends through this host, or others do."""
        carried = self.draw.random() < 0.4
        self.more.senders = {
            family: (Forwarded(source=source, translated=translated, carried=carried),)
            for family, (source, translated) in FORWARDED.items()
            if self.draw.random() < 0.7
        }

    def lose(self) -> None:
        """A site answers us alone; or others again."""
        self.more.lost_for ^= {self._site()}

    def resolvers(self) -> None:
        """The resolvers' traffic is seen, more of it or less."""
        self.trial.resolver_rate = self.draw.choice([0.0, 2.0, 20.0, 200.0])

    def bypass(self) -> None:
        """Somebody else's rule takes packets past any steer."""
        all_ = sorted(self.trial.addresses())
        number = self.draw.randint(0, len(all_))
        self.more.bypassed = frozenset(self.draw.sample(all_, number))


@dataclass
class RareActs(MoreActs):
    """What rarely befalls it, each from its beginning to its end."""

    RARE: Final[tuple[str, ...]] = (
        *("seen", "marked", "unserved", "outdated", "mix", "relapses", "astray", "squeeze"),
        *("backwards", "ahead"),
    )

    def _fault(self, lasts: float, **what: Any) -> None:  # noqa: ANN401 - those of a fault
        known = {"upstream": None, "addresses": None, "family": None, "paths": None, "share": 1.0}
        begin = self.trial.now
        what = {**known, "begin": begin, "end": begin + lasts, **what}
        self.trial.truth.faults.append(Fault(number=1000 + self.number, **what))

    def seen(self) -> None:
        """What is bad everywhere is seen by somebody, for a while; then it is well."""
        self._fault(60.0, addresses=self._addresses(), outcome=Outcome.UNSIGNED)
        self.trial.run(15.0)
        until: float | None
        for until in (WALL + self.trial.now + 5.0, None):
            seen = tuple(
                Override(
                    name=f"seen-{name}",
                    match=Match(),
                    action=Action.ACKNOWLEDGE,
                    to=None,
                    until=until,
                    reason="r",
                    by="b",
                    alarm=name,
                )
                for name in sorted(self.trial.state.alarms)
            )
            self.trial.overrides = seen
            self.trial.run(10.0)
        self.mend()
        self.trial.run(30.0)
        self.trial.overrides = ()

    def _addresses(self) -> frozenset[str]:
        """Those of one upstream."""
        return frozenset(a for _, mine in self.files.upstreams[0].letters for a in mine)

    def marked(self) -> None:
        """What has our mark is dropped on the way to one upstream, on the local path."""
        self.more.unmarked_alone = self._addresses()
        self.trial.run(30.0)
        self.more.unmarked_alone = frozenset()

    def unserved(self) -> None:
        """The resolvers get no answers over any site."""
        self.trial.resolver_rate = 200.0
        self._away()
        self.more.lost_for = {*self.files.sites}
        self.trial.run(20.0)
        self.more.lost_for, self.trial.resolver_rate = set(), 0.0

    def _away(self) -> None:
        """One upstream is bad here, and its addresses leave."""
        begun = self.trial.now
        self.begin()
        while not self.trial.state.plan and self.trial.now < begun + 20:
            self.trial.run(0.5)

    def outdated(self) -> None:
        """No copy of one upstream's zone is renewed any more."""
        self._fault(70.0, addresses=self._addresses(), outcome=None)
        self.trial.run(80.0)

    def mix(self) -> None:
        """Several servers answer in turns."""
        self.more.mixed = True
        self.trial.run(40.0)
        self.more.mixed = False

    def astray(self) -> None:
        """Over the sites, what has no mark is answered badly; or all is, from the move on."""
        files, sites = self.files, frozenset(self.files.sites)
        assert isinstance(files, MoreFiles)
        if files.mode == "enforce":
            self._fault(30.0, paths=sites, live=True, outcome=Outcome.EXPIRED)
        self._away()
        if files.mode != "enforce":
            self._fault(30.0, paths=sites, outcome=Outcome.EXPIRED)
        self.trial.run(20.0)

    def relapses(self) -> None:
        """As soon as the first one is home, what has no mark is bad there again; or all is."""
        for number in range(5):
            self._away()
            self.trial.run(3.0)
            self.mend()
            begun, away = self.trial.now, len(self.trial.state.plan)
            while away and len(self.trial.state.plan) == away and self.trial.now < begun + 60:
                self.trial.run(0.25)
            self._fault(
                8.0, paths=frozenset({LOCAL}), live=number % 2 == 0, outcome=Outcome.EXPIRED
            )
            self.trial.run(8.0)

    def squeeze(self) -> None:
        """The sites are to get less than they do."""
        self._away()
        sites = {name: (n, six, 5) for name, (n, six, _) in self.files.sites.items()}
        self.trial.reload(replace(self.files, sites=sites), self.tmp)
        self.trial.run(5.0)

    def backwards(self) -> None:
        """The clock is set back while nobody runs."""
        self._away()
        self.trial.truth.own_clock = self.trial.clock_error = -600.0
        self.restart()
        self.trial.run(10.0)

    def ahead(self) -> None:
        """The clock is ahead, by more than signatures live."""
        self.trial.truth.own_clock = self.trial.clock_error = 4000.0
        self.trial.run(20.0)
        self.trial.truth.own_clock = self.trial.clock_error = 0.0
        self.trial.run(10.0)


def aimed(seed: int, tmp: Path, _anew: Anew) -> None:
    """Some of what rarely befalls an agent, one after the other, in two modes."""
    draw = random.Random(f"aimed {seed}")
    plain = files_of(draw)
    upstreams = tuple(
        replace(
            one,
            moves_per_day=6,
            hold=0,
            max_hold=0,
            clean=10,
            serial="epoch",
            stale=", stale: {serial_lag: 20s}",
            gradual=True,
            together="upstream" if seed % 2 else "address",
        )
        for one in plain.upstreams
    )
    files = MoreFiles(
        upstreams=upstreams,
        sites=plain.sites,
        budget="{}",
        mode="rehearse" if seed % 4 == 3 else "enforce",
    )
    trial = _trial(files, Truth(), 0.5, f"aimed facts {seed}", tmp)
    acts = RareActs(trial, draw, tmp, lasts=60.0)
    trial.run(5.0)
    for number in range(3):
        acts.befall(RareActs.RARE[(seed + 3 * number) % len(RareActs.RARE)])
        acts.mend()
        trial.run(15.0)


def _trial(files: MoreFiles, truth: Truth, step: float, facts: str, tmp: Path) -> More:
    trial = More(
        files.read(tmp),
        truth.answer,
        step=step,
        truth=truth,
        draw=random.Random(facts),
        files=files,
        records=False,
    )
    trial.answer = trial.answered
    return trial


def chaos(seed: int, tmp: Path, _anew: Anew) -> None:
    """What may befall an agent, all of it."""
    draw = random.Random(f"yardstick {seed}")
    plain = files_of(draw)
    words: dict[str, Any] = {
        name: getattr(plain, name) for name in ("upstreams", "sites", "budget")
    }
    mode = draw.choice(["enforce"] * 5 + ["rehearse", "observe"])
    files = MoreFiles(**words, mode=mode)
    truth = Truth(loss=draw.choice([0.0, 0.0, 0.01, NOISE]))
    step = draw.choice([0.1, 0.25, 0.5, 0.5])
    trial = _trial(files, truth, step, f"facts {seed}", tmp)
    if draw.random() < 0.5:
        trial.resolver_rate = draw.choice([2.0, 20.0, 200.0])
        trial.lies = draw.choice([0.0, 0.05, 0.5])
    if draw.random() < 0.2:
        trial.shut = draw.choice([*Family])  # never had a route
    acts = MoreActs(trial, draw, tmp, lasts=draw.choice([40.0, 90.0]))
    trial.refuses = lambda address: acts.refused.get(address, 0.0) > trial.now
    trial.run(draw.choice([0.0, 2.0, 8.0, 15.0]))
    if draw.random() < 0.7:
        acts.begin()
        trial.run(draw.choice([2.0, 5.0, 9.0, 15.0]))
    for _ in range(draw.randint(3, 9)):
        acts.befall(draw.choice(MoreActs.ANY))
        trial.run(draw.choice([0.5, 3.0, 8.0, 15.0]))
    acts.mend()
    trial.run(20.0)
