"""What must hold after every turn of a random story, whatever has befallen the agent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields

import numpy as np
from chaos_files import Files
from chaos_truth import Truth
from simulation import Simulation

from steering.decide.reasons import because
from steering.decide.state import State
from steering.engine import engine
from steering.journal.records import differing
from steering.judge.buckets import LOOSE
from steering.judge.failed_names import IGNORED, SLOTS, WITNESSES
from steering.judge.zone_copies import HISTORY
from steering.model import LOCAL, Action, Event, Facts, Frozen, Health, Step, Verdict

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
        for policy in self.layout.policies:
            for target in policy.targets:
                self.on.setdefault(target.address, set()).update(map(str, policy.breach.on))
            clean = policy.recover.clean * self.layout.interval
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
            for a in range(len(after.plan)):
                need(because(after, a), "nothing to say")
            again, *rest = engine.turn(before, facts, self.now)
            need(rest == [steps, events] and differing(after, again) is None, "another turn")

    def check_plan(self, after: State, steps: tuple[Step, ...]) -> None:
        """The plan is one that the policies allow, and what the events say."""
        layout, plan = self.layout, after.plan
        for a in np.flatnonzero(plan).tolist():
            p = int(plan[a])
            need(layout.hop[a, p], f"{layout.targets[a].address}: no way through {p}")
            if after.rule[a] != 2:
                need(not after.override_state.banned[a, p], "it goes through what is to be avoided")
        need(not after.off or not plan.any(), "off, and steered")
        for step in steps:
            need(step.now != step.was, "a step that is none")
            if step.now is not None and step.rule != "override":
                need(step.rule == "steer", f"{step}")
                a = layout.row[step.address]
                need(layout.order[a, layout.column[step.now]] >= 0, f"not liked: {step}")
        where = {a: site for a, site in self.at.items() if site != LOCAL}
        need(where == after.steers(), f"the events say {where}, the plan {after.steers()}")

    def window(self, seconds: float) -> float:
        """The beginning of so much time in which the agent was awake."""
        since = self.now - seconds
        return since - self.pause if since < self.gap else since

    def mates(self, a: int) -> list[int]:
        """Those of the same family that move along."""
        layout = self.layout
        mine = (layout.group_of == layout.group_of[a]) & (layout.family_of == layout.family_of[a])
        return [int(b) for b in np.flatnonzero(mine)]

    def check_away(self, step: Step) -> None:
        """Who leaves had a reason, and goes where his own probes were answered well."""
        layout, a = self.layout, self.layout.row[step.address]
        assert step.now is not None
        since = self.window(self.lasting)
        if self.installed.get(step.address) is None and step.was is None:
            group = [layout.targets[b].address for b in self.mates(a)]
            need(
                any(self.truth.ill(mate, LOCAL, since, self.now, self.on[mate]) for mate in group),
                f"nothing is wrong here: {step}",
            )
        seen = self.last.get((step.address, step.now))
        need(seen is not None, f"never asked over {step.now}: {step}")
        assert seen is not None
        asked, verdict = seen
        on = {str(c) for c in layout.policy(a).breach.on}
        fresh = layout.fresh + (0.0 if self.now - self.gap > layout.fresh else self.pause)
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
        for a, target in enumerate(self.layout.targets):
            policy = self.layout.policy(a)
            free = policy.steer.at_most is None and policy.recover.moves_per_day > 100
            on = {str(c) for c in policy.breach.on} & {"bogus", "error"}
            if free and (self.layout.order[a] >= 0).any():
                need(
                    after.plan[a]
                    or not self.truth.surely_ill(target.address, LOCAL, since, self.now, on),
                    f"{target.address} is left alone: {because(after, a)}",
                )

    def check_home(self, step: Step) -> None:
        """Who comes home by a recovery finds it well."""
        if step.rule != "healthy":
            return
        if self.now - self.gap < 10:
            return
        on = map(str, self.layout.policy(self.layout.row[step.address]).breach.on)
        need(
            not self.truth.surely_ill(step.address, LOCAL, self.now - 4, self.now, set(on)),
            f"home is bad: {step}",
        )

    def check_overrides(self, before: State, after: State, facts: Facts) -> None:
        """Each override is obeyed in the turn that hears of it, whatever else is believed."""
        layout, frozen = self.layout, {}
        for a, target in enumerate(layout.targets):
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
            goes = layout.paths[after.plan[a]]
            if word is not None and word.action is Action.FREEZE:
                came = self.before_turn(before, a, facts)
                held = self.held_since.get(address)
                frozen[address] = (
                    held if held and held.by == word.name else Frozen(path=came, by=word.name)
                )
            if after.off:
                continue
            need(goes not in banned, f"{address} goes to {goes}, which is to be avoided")
            if word is None:
                need(after.rule[a] != 2 or banned, f"{address}: ruled by no override")
                continue
            to = {
                Action.LOCAL: LOCAL,
                Action.FREEZE: frozen[address].path if address in frozen else None,
                Action.STEER: word.to,
            }[word.action]
            column = layout.column.get(to or "")
            if column is not None and (column == 0 or layout.hop[a, column]):
                need(goes == to, f"{address} goes to {goes}, and {word} says {to}")
                need(after.rule[a] == 2, f"rule {after.rule[a]}")
            elif "override" not in after.alarms:
                need(False, f"an override that can't be obeyed, and no alarm: {word}")
        self.held_since = frozen

    def before_turn(self, before: State, a: int, facts: Facts) -> str:
        """Where an address went when the turn began."""
        if before.started:
            return str(self.layout.paths[before.plan[a]])
        address = self.layout.targets[a].address
        return facts.installed.get(address, LOCAL)

    def check_budget(self, after: State, steps: tuple[Step, ...]) -> None:
        """No more moves, and no more away, than are allowed."""
        layout, budget = self.layout, self.layout.budget
        self.own_moves = [(at, n) for at, n in self.own_moves if self.now - at < 60]
        spent = sum(n for _, n in self.own_moves)
        own = [s for s in steps if s.rule in ("steer", "healthy")]
        if own:
            need(len(own) + spent <= budget.moves_per_minute, f"{spent} + {len(own)} moves")
        if by_itself := [s for s in steps if s.rule not in ("off", "override")]:
            self.own_moves.append((self.now, len(by_itself)))
        new = [s for s in own if s.now is not None and s.was is None]
        away = int((after.plan > 0).sum())
        need(not new or budget.at_once is None or away <= budget.at_once, f"{away} away")
        for step in new:
            a = layout.row[step.address]
            mine = layout.upstream_of == layout.upstream_of[a]
            need((after.plan[mine] > 0).sum() <= layout.at_most[a], "more than at_most")
        load = np.zeros(len(layout.paths))  # by the estimates, whatever anybody was heard to ask
        for a in np.flatnonzero(after.plan).tolist():
            load[after.plan[a]] += np.nan_to_num(layout.estimate[a])
        for step in own:
            if step.now is None:
                continue
            p = layout.column[step.now]
            if np.nan_to_num(layout.estimate[layout.row[step.address]]) > 0:
                allowed = layout.capacity[p] * budget.capacity_share
                need(load[p] <= allowed + 1e-6, f"{load[p]} of {allowed} at {step.now}")

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
                key = self.layout.row[str(event.address)], self.layout.column[str(event.path)]
                if before.started:
                    was = Health(int(before.ledger.health[key])).word
                    need(event.was == was, f"it was {was}: {event}")
            elif event.event == "recovered":
                left = Health(int(before.ledger.health[self.layout.row[str(event.address)], 0]))
                need(left in (Health.FAILING, Health.STALE), f"it was {left}: {event}")
        need(alarms == set(after.alarms), f"told of {alarms}, there are {set(after.alarms)}")
        changed = (after.ledger.health != before.ledger.health).sum()
        told = [e for e in events if e.event == "health_changed"]
        others = {"adopted", "relapsed"} & {e.event for e in events}
        need(others or len(told) == changed, f"{changed} changed, {len(told)} told")

    def check_sizes(self, after: State) -> None:
        """Nothing grows without bound."""
        (a, p), ledger = after.layout.shape, after.ledger
        heard = ledger.traffic
        for names in (*ledger.counted.values(), *heard.counted.values(), *heard.pooled.values()):
            need(len(names) <= SLOTS, "too many names")
        for names in ledger.ignored.values():
            need(len(names) <= IGNORED, "too many names to ignore")
        for names in heard.witnesses.values():
            need(len(names) <= WITNESSES, "too many witnesses")
        for entries in (ledger.instances, ledger.buckets, ledger.evidence, ledger.counted):
            need(all(0 <= row < a and 0 <= column < p for row, column in entries), "no such key")
        for rows in (after.verifications, ledger.trials, ledger.holds, ledger.ignored):
            need(all(0 <= row < a for row in rows), "no such row")
        need(all(len(news) <= HISTORY for news in ledger.copies.news.values()), "too much news")
        need(all(self.now - at < 60 for at, _ in after.moves), "old moves")
        for row, proof in after.verifications.items():
            need(proof.column == after.plan[row], f"a proof of another way: {proof}")
        need(set(after.frozen) <= set(self.layout.row), "frozen, and nobody's")

    def check_finite(self, after: State) -> None:
        """Numbers stay numbers."""
        for part in (after, after.ledger, after.ledger.copies, after.ledger.traffic):
            for one in fields(part):
                value = getattr(part, one.name)
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    need(not np.isposinf(value).any(), f"{one.name} is infinite")
                    if one.name not in ("avoid_until", "deaf_until"):
                        need(not np.isneginf(value).any(), f"{one.name} is infinite")
        ledger = after.ledger
        for levels in (
            ledger.levels,
            ledger.group_points,
            ledger.traffic.levels,
            ledger.traffic.group_points,
        ):
            need(((levels >= 0) & (levels <= LOOSE[0])).all(), "a bucket runs over")
        share = ledger.share(self.now)
        need(((share >= 0) & (share <= 1 + 1e-9) | np.isnan(share)).all(), f"a share of {share}")
        rtt = ledger.rtt[~np.isnan(ledger.rtt)]
        need(((rtt > 0) & (rtt < 10)).all(), "round-trip times")
        need((after.worn >= 0).all(), "worn below nothing")
