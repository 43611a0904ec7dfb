"""The Linux actuator: makes routes and rules match a plan.

It is a reader and a remover at once. It does not remember what it did: each call reads the
kernel, makes the missing changes, and reads again.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from steering import next_hop
from steering.act.kernel import framing, rtnetlink
from steering.act.kernel.claim import Claim
from steering.act.kernel.diff import (
    Change,
    ChangeKind,
    Occupied,
    askable,
    objection,
    route_changes,
    rule_changes,
)
from steering.act.kernel.expected import Expected
from steering.act.kernel.netlink import BATCH, KernelRefusal, KernelRequest
from steering.act.kernel.problem import KernelProblem
from steering.act.kernel.removal import KernelRemover
from steering.act.kernel.rtnetlink import Route
from steering.act.kernel.rules import Rule
from steering.act.kernel.state import KernelReader, Table
from steering.model import Done, Family, Refused, Seconds

SWITCHED_OFF: Final = "switched off: nothing may be installed on this host"


class KernelActuator(KernelReader, KernelRemover):
    """Makes routes and rules match a plan, and removes all that are ours.

    `may_write` is called immediately before each batch; while it returns False nothing is
    installed. Removing is always allowed.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(claim)
        self._may_write = may_write
        self._asked: Collection[str] = ()
        """The addresses that `_wanted` was computed for."""
        self._wanted: Mapping[tuple[Family, int], Sequence[Route]] = {}
        self._right: dict[tuple[Family, int], Table] = {}
        """The sites' tables at the last reading that needed no change."""
        self._expected = Expected()

    def prepare(
        self, addresses: Collection[str], *, steering: bool = True
    ) -> tuple[KernelProblem, ...]:
        """Installs our rules, and the routes to these addresses in the sites' tables.

        Without `steering` only the rules for marked probes over the sites are installed. Returns
        what could not be installed, and why. Changes nothing if all is there. Routes through a site
        whose link is down are such a problem: probes through it fail until they can be installed.
        """
        claim = self.claim
        of_routes, occupied = self._table_changes(addresses)
        wanted = claim.rules if steering else claim.questions
        rules = [rule for family in claim.families for rule in wanted(family)]
        there = self._rules()
        of_rules = rule_changes(rules, there, claim)
        self._expected.found(rule for rule in rules if rule in there)
        # Tables before the rules that look them up; removals last.
        changes = sorted(
            (*of_routes, *of_rules), key=lambda change: change.act is ChangeKind.REMOVE
        )
        results = self._carry_out(changes)
        refused = (
            (f"{change.act} ", change.what, refusal.text)
            for change, refusal in zip(changes, results, strict=True)
            if refusal is not None
        )
        return _problems((*(("", o.wanted, _foreign_route_text(o.by)) for o in occupied), *refused))

    def _table_changes(
        self, addresses: Collection[str]
    ) -> tuple[Sequence[Change], Sequence[Occupied]]:
        """The changes to the sites' tables. Tables unchanged since they were right are skipped."""
        if addresses != self._asked or not self._wanted:
            self._asked, self._wanted = addresses, _by_table(self.claim, addresses)
            self._right.clear()
        changes: list[Change] = []
        occupied: list[Occupied] = []
        for place, wanted in self._wanted.items():
            there = self._table(*place)
            if self._right.get(place) is there:
                continue
            more, taken = route_changes(wanted, (*there.ours, *there.others), self.claim.protocol)
            if not more and not taken:
                self._right[place] = there
                self._expected.found(wanted)
            changes += more
            occupied += taken
        return changes, occupied

    def apply(
        self, plan: Mapping[str, str], allowed: Collection[str]
    ) -> tuple[Done | Refused, ...]:
        """Makes our host routes match this plan (address to site), both families at once.

        Additions and replacements come first, removals last, in one batch. Then the table is read
        back, and that decides the result. Only addresses in `allowed` are ever installed. A refusal
        doesn't stop the rest. If nothing has to change, nothing is sent, and only refusals are
        returned. Seconds in a Done run from the call to the reading back.
        """
        started = time.monotonic()
        claim = self.claim
        wanted: list[Route] = []
        results: list[Done | Refused] = []
        own = self.own_addresses() if plan else frozenset()
        for address, site in plan.items():
            because = objection(address, site, claim=claim, allowed=allowed, own=own)
            if because is None:
                wanted.append(claim.steer(address, site))
            else:
                results.append(
                    Refused(action=ChangeKind.ADD, address=address, site=site, because=because)
                )
        there = [self._table(family, claim.table) for family in Family]
        present = [route for table in there for route in (*table.ours, *table.others)]
        changes, occupied = route_changes(wanted, present, claim.protocol)
        self._expected.keep_routes(claim.table, wanted)
        self._expected.found(frozenset(wanted) & frozenset(present))
        results.extend(
            Refused(
                action=ChangeKind.ADD,
                address=o.wanted.destination,
                site=claim.site_of(o.wanted.hop),
                because=_foreign_route_text(o.by),
            )
            for o in occupied
        )
        if changes:
            outcomes = self._carry_out(changes)
            shown = frozenset(self._ours(claim.table))
            seconds = time.monotonic() - started
            results.extend(
                self._result(change, refusal, shown, seconds)
                for change, refusal in zip(changes, outcomes, strict=True)
            )
        return tuple(results)

    def lost(self) -> tuple[Route | Rule, ...]:
        """What was removed by another program and installed again, since the last call."""
        return self._expected.lost()

    def withdraw(self, *, but: Claim | None = None) -> tuple[KernelProblem, ...]:
        self._expected.forget()
        return super().withdraw(but=but)

    def _carry_out(self, changes: Sequence[Change]) -> tuple[KernelRefusal | None, ...]:
        results: list[KernelRefusal | None] = []
        for at in range(0, len(changes), BATCH):
            batch = changes[at : at + BATCH]
            if self._may_write() or all(change.act is ChangeKind.REMOVE for change in batch):
                requests = [_request_or_refusal(change) for change in batch]
                done = iter(self._send([r for r in requests if isinstance(r, KernelRequest)]))
                outcomes = [r if isinstance(r, KernelRefusal) else next(done) for r in requests]
                for change, refusal in zip(batch, outcomes, strict=True):
                    if refusal is None:
                        self._expected.carried_out(change)
                results += outcomes
            else:
                results += [KernelRefusal(number=0, text=SWITCHED_OFF)] * len(batch)
        return tuple(results)

    def _result(
        self,
        change: Change,
        refusal: KernelRefusal | None,
        there: frozenset[Route],
        seconds: Seconds,
    ) -> Done | Refused:
        assert isinstance(change.what, Route)
        route = change.what
        address = route.destination if route.length == route.family.bits else route.prefix
        site = self.claim.site_of(route.hop)
        if (route in there) is not (change.act is ChangeKind.REMOVE):
            return Done(action=change.act, address=address, site=site, seconds=seconds)
        because = (
            refusal.text if refusal else "the kernel accepted it, but reading back shows no effect"
        )
        return Refused(action=change.act, address=address, site=site, because=because)


def _request_or_refusal(change: Change) -> KernelRequest | KernelRefusal:
    """The netlink request for one change, or why it can't be made."""
    try:
        return request_for(change)
    except OSError as error:
        assert isinstance(change.what, Route)
        because = f"there is no interface {change.what.dev}"
        return KernelRefusal(number=error.errno or errno.ENODEV, text=because)


def request_for(change: Change) -> KernelRequest:
    """The netlink request for one change.

    An addition is exclusive, so it can't replace a route that another program added since the table
    was read. No request forces a next hop that is not on the link. Raises OSError if there is no
    such interface.
    """
    match change:
        case Change(act=ChangeKind.REMOVE, what=Route() as route):
            return KernelRequest(
                kind=rtnetlink.DELROUTE, flags=0, body=rtnetlink.route_body(route, removal=True)
            )
        case Change(act=ChangeKind.REMOVE, what=Rule() as rule):
            return KernelRequest(kind=rtnetlink.DELRULE, flags=0, body=rtnetlink.rule_body(rule))
        case Change(act=ChangeKind.REPLACE, what=Route() as route):
            flags = framing.CREATE | framing.REPLACE
            return KernelRequest(
                kind=rtnetlink.NEWROUTE, flags=flags, body=rtnetlink.route_body(route)
            )
        case Change(what=Route() as route):
            flags = framing.CREATE | framing.EXCLUSIVE
            return KernelRequest(
                kind=rtnetlink.NEWROUTE, flags=flags, body=rtnetlink.route_body(route)
            )
        case Change(what=Rule() as rule):
            flags = framing.CREATE | framing.EXCLUSIVE
            return KernelRequest(
                kind=rtnetlink.NEWRULE, flags=flags, body=rtnetlink.rule_body(rule)
            )
    raise AssertionError(change)


def _by_table(
    claim: Claim, addresses: Collection[str]
) -> Mapping[tuple[Family, int], Sequence[Route]]:
    """The routes of each of the sites' tables, by family and number; some are empty."""
    found: dict[tuple[Family, int], list[Route]] = {
        (family, table): [] for table in claim.tables[1:] for family in Family
    }
    for route in claim.probe_routes(askable(addresses, claim)):
        found[route.family, route.table].append(route)
    return found


def _problems(failures: Iterable[tuple[str, Route | Rule, str]]) -> tuple[KernelProblem, ...]:
    """The problems; routes with the same next hop and reason are counted in one."""
    groups: dict[tuple[object, ...], list[tuple[str, Route | Rule, str]]] = {}
    for one in failures:
        act, what, because = one
        key: tuple[object, ...] = (what,)
        if isinstance(what, Route):
            key = what.table, what.family, _next_hop_text(what)
        groups.setdefault((act, because, *key), []).append(one)
    return tuple(
        KernelProblem(what=f"{act}{_name(what, len(many))}", because=because, family=what.family)
        for many in groups.values()
        for act, what, because in many[:1]
    )


def _name(what: Route | Rule, many: int = 1) -> str:
    if isinstance(what, Route):
        routes = f"route {what.prefix}" if many == 1 else f"{many} routes"
        return f"{routes} {_next_hop_text(what)} in table {what.table} ({what.family})"
    return f"rule {what.priority} ({what.family})"


def _next_hop_text(route: Route) -> str:
    return next_hop.words(route.hop) if route.hop else route.kind.name.lower()


def _foreign_route_text(route: Route) -> str:
    return f"another program's route is there (protocol {route.protocol}, {_name(route)})"
