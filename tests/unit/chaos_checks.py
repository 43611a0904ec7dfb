"""What must hold after every turn of a random story, whatever has befallen the agent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace

from chaos_files import Files
from chaos_truth import Truth
from simulation import Simulation

from steering.decide.messages.reasons import because
from steering.decide.rules import of_usual
from steering.decide.state import State
from steering.engine import engine
from steering.facts import Facts
from steering.index import Index
from steering.journal.records import differing
from steering.judge.known.buckets import LOOSE
from steering.judge.known.failed_names import IGNORED, SLOTS, WITNESSES
from steering.judge.known.ledger import ASKED, PAIRS
from steering.judge.known.zone_copies import HISTORY
from steering.judge.open_addresses import reopened
from steering.model import LOCAL, Event, Health, Step, Verdict
from steering.override import Action, Frozen

SOON = 45.0
"""Seconds after which what is surely bad is gone around, if nothing speaks against that."""


class Broken(AssertionError):  # noqa: N818 - it is a finding
    """Something that must hold does not."""


def need(holds: object, what: str) -> None:
    """Raises Broken."""
    if not holds:
        raise Broken(what)


@dataclass
class Checked(Simulation):
    """A simulation of which every turn is held against the truth."""

    truth: Truth = field(default_factory=Truth)
    files: Files | None = None
    resolver_rate: float = 0.0
    lies: float = 0.0
    on: dict[str, set[str]] = field(default_factory=dict)
    """Address -> classes that ever counted."""
    lasting: float = 0.0
    """Seconds for which a breach may outlast its fault."""
    gap: float = -1e9
    """End of the last pause without turns."""
    pause: float = 0.0
    own_moves: list[tuple[float, int]] = field(default_factory=list)
    at: dict[str, str] = field(default_factory=dict)
    """Address -> where the events say it goes."""
    last: dict[tuple[str, str], tuple[float, Verdict]] = field(default_factory=dict)
    held_since: dict[str, Frozen] = field(default_factory=dict)
    undisturbed: float = 1e9
    """Since when nothing but faults has befallen the agent."""
    turns: int = 0

    def note_policies(self) -> None:
        """What counts for whom from now on."""
        for policy in self.index.policies:
            for target in policy.targets:
                self.on.setdefault(target.address, set()).update(map(str, policy.breach.on))
            clean = policy.recover.clean * self.index.interval
            self.lasting = max(self.lasting, policy.recover.max_hold + 4 * clean + 30)

    def hear(self, events: Iterable[Event]) -> None:
        """Follow each address through what is told of it."""
        for event in events:
            self.events.append((self.now, event))
            address = event.address
            if event.event == "adopted":
                assert address is not None
                assert event.now is not None
                self.at[address] = event.now
            elif event.event in ("steered", "released"):
                assert address is not None
                assert event.now is not None
                here = self.at.get(address, LOCAL)
                need(event.was == here, f"{address} is at {here}, and {event}")
                need(event.was != event.now, f"no move: {event}")
                need((event.event == "released") == (event.now == LOCAL), f"{event}")
                self.at[address] = event.now

    def check(
        self,
        before: State,
        after: State,
        facts: Facts,
        steps: tuple[Step, ...],
        events: tuple[Event, ...],
    ) -> None:
        """Everything that must hold after a turn."""
        self.check_plan(after, steps)
        for step in steps:
            if step.now is None:
                self.check_home(step)
            elif step.rule == "steer":
                self.check_away(step)
        self.check_overrides(before, after, facts)
        self.check_budget(after, steps)
        self.check_events(before, after, events)
        self.check_sizes(after)
        if self.turns % 8 == 0 and self.now - self.undisturbed > SOON:
            self.check_help(after)
        if self.turns % 16 == 0:
            self.check_finite(after)
            self.check_lookouts(after)
            for address in self.index.settings:
                need(because(after, address), "nothing to say")
            again, *rest = engine.turn(before, facts, self.now)
            need(rest == [steps, events] and differing(after, again) is None, "another turn")

    def check_plan(self, after: State, steps: tuple[Step, ...]) -> None:
        """The plan is one that the policies allow, and what the events say."""
        settings, plan = self.index.settings, after.plan
        for address, site in plan.items():
            need(site in settings[address].hops, f"{address}: no way through {site}")
            if after.rule[address] != 2:
                banned = after.override_state.banned.get(address, {})
                need(site not in banned, "it goes through what is to be avoided")
        need(not after.off or not plan, "off, and steered")
        for step in steps:
            need(step.now != step.was, "a step that is none")
            if step.now is not None and step.rule != "override":
                need(step.rule == "steer", f"{step}")
                need(step.now in settings[step.address].order, f"not liked: {step}")
        where = {a: site for a, site in self.at.items() if site != LOCAL}
        need(where == after.steers(), f"the events say {where}, the plan {after.steers()}")

    def window(self, seconds: float) -> float:
        """The beginning of so much time in which the agent was awake."""
        since = self.now - seconds
        return since - self.pause if since < self.gap else since

    def mates(self, address: str) -> list[str]:
        """Those of the same family that move along."""
        settings = self.index.settings
        mine = settings[address]
        return [a for a in self.index.groups[mine.group] if settings[a].family is mine.family]

    def check_away(self, step: Step) -> None:
        """Who leaves had a reason, and goes where his own probes were answered well."""
        assert step.now is not None
        since = self.window(self.lasting)
        if self.installed.get(step.address) is None and step.was is None:
            group = self.mates(step.address)
            need(
                any(self.truth.ill(mate, LOCAL, since, self.now, self.on[mate]) for mate in group),
                f"nothing is wrong here: {step}",
            )
        seen = self.last.get((step.address, step.now))
        need(seen is not None, f"never asked over {step.now}: {step}")
        assert seen is not None
        asked, verdict = seen
        on = {str(c) for c in self.index.settings[step.address].policy.breach.on}
        fresh = self.index.fresh
        fresh += 0.0 if self.now - self.gap > fresh else self.pause
        need(self.now - asked <= fresh, f"asked {self.now - asked} s ago: {step}")
        need(verdict is Verdict.GOOD, f"the last answer was {verdict}: {step}")
        need(
            not self.truth.surely_ill(
                step.address, step.now, self.now - 6, self.now - 1, on, share=1.0
            )
            or self.now - self.gap < 8,
            f"to a bad site: {step}",
        )

    def check_help(self, after: State) -> None:
        """What is bad here, and here alone, does not stay so: nobody waits for a detour in vain."""
        since, faults = self.now - SOON, self.truth.faults
        recent = [f for f in faults if f.begin < self.now and f.end > since - 90]
        if {f.paths for f in recent} - {frozenset({LOCAL})} or {None} & {
            f.upstream for f in recent
        }:
            return
        if len({f.upstream for f in recent}) > 1 or self.truth.loss or self.lies:
            return
        for address, each in self.index.settings.items():
            policy = each.policy
            free = policy.steer.at_most is None and policy.recover.moves_per_day > 100
            on = {str(c) for c in policy.breach.on} & {"bogus", "error"}
            if free and each.order:
                need(
                    address in after.plan
                    or not self.truth.surely_ill(address, LOCAL, since, self.now, on),
                    f"{address} is left alone: {because(after, address)}",
                )

    def check_home(self, step: Step) -> None:
        """Who comes home by a recovery finds it well."""
        if step.rule != "healthy":
            return
        if self.now - self.gap < 10:
            return
        on = map(str, self.index.settings[step.address].policy.breach.on)
        need(
            not self.truth.surely_ill(step.address, LOCAL, self.now - 4, self.now, set(on)),
            f"home is bad: {step}",
        )

    def check_overrides(self, before: State, after: State, facts: Facts) -> None:
        """Each override is obeyed in the turn that hears of it, whatever else is believed."""
        frozen = {}
        for target in self.index.targets:
            word, banned = None, set()
            for override in facts.overrides:
                if override.until is not None and override.until <= facts.wall:
                    continue
                if not override.match.covers(target, here="sin"):
                    continue
                if override.action is Action.ACKNOWLEDGE:
                    continue
                if override.action is Action.AVOID:
                    word = None
                    banned.add(override.to)
                    continue
                word = override
                if override.action is Action.STEER:
                    banned.discard(override.to)
            address = target.address
            goes = after.path_of(address)
            if word is not None and word.action is Action.FREEZE:
                came = self.before_turn(before, address, facts)
                held = self.held_since.get(address)
                frozen[address] = (
                    held if held and held.by == word.name else Frozen(path=came, by=word.name)
                )
            if after.off:
                continue
            need(goes not in banned, f"{address} goes to {goes}, which is to be avoided")
            if word is None:
                need(after.rule[address] != 2 or banned, f"{address}: ruled by no override")
                continue
            to = {
                Action.LOCAL: LOCAL,
                Action.FREEZE: frozen[address].path if address in frozen else None,
                Action.STEER: word.to,
            }[word.action]
            if to == LOCAL or to in self.index.settings[address].hops:
                need(goes == to, f"{address} goes to {goes}, and {word} says {to}")
                need(after.rule[address] == 2, f"rule {after.rule[address]}")
            elif "override" not in after.alarms:
                need(False, f"an override that can't be obeyed, and no alarm: {word}")
        self.held_since = frozen

    def before_turn(self, before: State, address: str, facts: Facts) -> str:
        """Where an address went when the turn began."""
        if before.started:
            return before.path_of(address)
        return facts.installed.get(address, LOCAL)

    def check_budget(self, after: State, steps: tuple[Step, ...]) -> None:
        """No more moves, and no more away, than are allowed."""
        settings, budget, plan = self.index.settings, self.index.budget, after.plan
        self.own_moves = [(at, n) for at, n in self.own_moves if self.now - at < 60]
        spent = sum(n for _, n in self.own_moves)
        own = [s for s in steps if s.rule in ("steer", "healthy")]
        if own:
            need(len(own) + spent <= budget.moves_per_minute, f"{spent} + {len(own)} moves")
        if by_itself := [s for s in steps if s.rule not in ("off", "override")]:
            self.own_moves.append((self.now, len(by_itself)))
        new = [s for s in own if s.now is not None and s.was is None]
        away = len(plan)
        need(not new or budget.at_once is None or away <= budget.at_once, f"{away} away")
        for step in new:
            mine = settings[step.address]
            number = sum(settings[address].upstream == mine.upstream for address in plan)
            need(number <= mine.at_most, "more than at_most")
        # By the estimates, whatever anybody was heard to ask.
        load = dict.fromkeys(self.index.sites, 0.0)
        for address, site in plan.items():
            load[site] += settings[address].estimate or 0.0
        for step in own:
            if step.now is not None and settings[step.address].estimate:
                taken, allowed = load[step.now], self.index.capacity[step.now]
                allowed *= budget.capacity_share
                need(taken <= allowed + 1e-6, f"{taken} of {allowed} at {step.now}")

    def check_events(self, before: State, after: State, events: tuple[Event, ...]) -> None:
        """What is told is what has changed."""
        need(all(e.because for e in events), "an event without a reason")
        alarms = set(before.alarms)
        for event in events:
            if event.event == "alarm_raised":
                need(event.now not in alarms, f"raised twice: {event}")
                alarms.add(str(event.now))
            elif event.event == "alarm_cleared":
                need(event.was in alarms, f"never raised: {event}")
                alarms.discard(str(event.was))
            elif event.event == "health_changed":
                need(event.was != event.now, f"{event}")
                if before.started:
                    was = before.ledger.path(str(event.address), str(event.path)).health.word
                    need(event.was == was, f"it was {was}: {event}")
            elif event.event == "recovered":
                left = before.ledger.path(str(event.address)).health
                need(left in (Health.FAILING, Health.STALE), f"it was {left}: {event}")
        need(alarms == set(after.alarms), f"told of {alarms}, there are {set(after.alarms)}")
        keys = [(a, p) for a in self.index.settings for p in self.index.paths]
        one, other = before.ledger, after.ledger
        changed = sum(one.path(*key).health is not other.path(*key).health for key in keys)
        told = [e for e in events if e.event == "health_changed"]
        others = {"adopted", "relapsed"} & {e.event for e in events}
        need(others or len(told) == changed, f"{changed} changed, {len(told)} told")

    def check_sizes(self, after: State) -> None:
        """Nothing grows without bound."""
        ledger, index = after.ledger, after.index
        counted = [known.counted for known in ledger.paths.values()]
        counted += [known.counted for known in ledger.traffic.values()]
        counted += [known.heard_names for known in ledger.groups.values()]
        need(all(len(names) <= SLOTS for names in counted), "too many names")
        for one in ledger.addresses.values():
            need(len(one.ignored) <= IGNORED, "too many names to ignore")
            need(len(one.asked_at) <= ASKED, "too many probes")
            need(len(one.shown) <= PAIRS, "too many pairs")
        for of in ledger.upstreams.values():
            need(len(of.failed) <= WITNESSES, "too many names to ask")
        known = ledger.paths, ledger.traffic, ledger.instances
        for keys in (*known, after.avoid_until, after.turned):
            need(all(index.knows(*key) for key in keys), "no such address or path")
        for names in (after.verifications, after.plan, after.worn, ledger.addresses, ledger.open):
            need(all(name in index.settings for name in names), "no such address")
        need(ledger.groups.keys() <= index.groups.keys(), "no such group")
        need(all(len(zone.serials) <= HISTORY for zone in ledger.zones.values()), "too much news")
        need(all(self.now - at < 60 for at, _ in after.moves), "old moves")
        for address, proof in after.verifications.items():
            need(proof.path == after.path_of(address), f"a proof of another way: {proof}")
        need(set(after.frozen) <= index.settings.keys(), "frozen, and nobody's")

    def check_finite(self, after: State) -> None:
        """Numbers stay numbers."""
        for name, number in _numbers("state", replace(after, situation=None)):
            need(not math.isnan(number) and number != math.inf, f"{name} is {number}")
        ledger = after.ledger
        buckets = [each for known in ledger.paths.values() for each in known.levels]
        buckets += [each for known in ledger.traffic.values() for each in known.levels]
        buckets += [group.points for group in ledger.groups.values()]
        buckets += [group.heard for group in ledger.groups.values()]
        points = {level for levels in buckets for level in levels}
        need(all(0 <= level <= LOOSE[0] for level in points), "a bucket runs over")
        for known in ledger.paths.values():
            share = known.recent.share(self.now)
            need(share is None or 0 <= share <= 1 + 1e-9, f"a share of {share}")
            need(known.rtt is None or 0 < known.rtt < 10, "round-trip times")
        need(all(level > 0 for level in after.worn.values()), "worn below nothing")

    def check_lookouts(self, after: State) -> None:
        """What is not looked at in each turn is as if it had been."""
        ledger, situation = after.ledger, after.situation
        assert situation is not None
        anew = reopened(ledger, after.index, self.now)
        need(anew.open <= ledger.open, f"not looked at: {anew.open - ledger.open}")
        soonest: dict[tuple[str, str], int] = {}
        for second, keys in ledger.due.items():
            soonest |= {key: min(second, soonest.get(key, second)) for key in keys}
        for second, keys in anew.due.items():
            need(all(soonest.get(key, math.inf) <= second for key in keys), "not looked at in time")
        for address, each in after.index.settings.items():
            if address not in situation.addresses:
                local = ledger.path(address).health
                rule = of_usual(situation, each.family, local, acts_on_stale=each.acts_on_stale)
                need(after.rule[address] == rule, f"rule {after.rule[address]}, and not {rule}")


def _numbers(name: str, value: object) -> Iterator[tuple[str, float]]:
    """All numbers with a fraction in the values of a state, but for its settings."""
    if isinstance(value, float):
        yield name, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _numbers(f"{name}[{key}]", one)
    elif isinstance(value, tuple):
        for one in value:
            yield from _numbers(name, one)
    elif is_dataclass(value) and not isinstance(value, Index | type):
        for one in fields(value):
            yield from _numbers(one.name, getattr(value, one.name))
