"""Removes all that is ours from the kernel, for the guard, `steering off` and the agent.

It needs no more than a claim. It is small and uses only the standard library, so that it is in
memory and works whatever has happened to the agent: of what the kernel lists it finds what is ours,
and sends that back as a request to remove it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from steering.act.kernel import rtnetlink
from steering.act.kernel.claim import Claim
from steering.act.kernel.diff import is_our_rule
from steering.act.kernel.netlink import (
    BATCH,
    ChangeSocket,
    KernelRefusal,
    KernelRequest,
    QuerySocket,
)
from steering.act.kernel.problem import KernelProblem
from steering.act.kernel.rtnetlink import Numbers
from steering.act.kernel.rules import Action
from steering.model import Family

_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owned:
    """A route or rule of ours in the kernel."""

    numbers: Numbers
    body: bytes
    """As the kernel dumped it."""
    rule: bool

    @property
    def name(self) -> str:
        family = self.numbers.family
        if self.rule:
            return f"rule {self.numbers.priority} ({family})"
        return f"route {rtnetlink.prefix_of(self.body)} in table {self.numbers.table} ({family})"

    @property
    def removal(self) -> KernelRequest:
        if self.rule:
            return KernelRequest(kind=rtnetlink.DELRULE, flags=0, body=self.body)
        removal = rtnetlink.removal_of(self.body)
        return KernelRequest(kind=rtnetlink.DELROUTE, flags=0, body=removal)


class ClaimQueries:
    """A claim, and a socket that asks the kernel about it."""

    def __init__(self, claim: Claim) -> None:
        self.claim: Final = claim
        self._query = QuerySocket()

    def close(self) -> None:
        self._query.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class KernelRemover(ClaimQueries):
    """Removes all that a claim owns, in both families.

    Every method raises OSError when the kernel can't be read.
    """

    def __init__(self, claim: Claim) -> None:
        super().__init__(claim)
        self._writing = ChangeSocket()

    def close(self) -> None:
        self._writing.close()
        super().close()

    def withdraw(self, *, but: Claim | None = None) -> tuple[KernelProblem, ...]:
        """Removes all rules and routes of ours, in both families; what could not be removed.

        Everything with another protocol number or outside the claim is left alone, and what the
        claim `but` owns as well.
        """
        for _ in range(_TRIES):
            owned = list(self._everything(but))
            if not owned:
                break
            results = self._send_all([one.removal for one in owned])
        else:
            left = {one.name for one in self._everything(but)}
            return tuple(
                KernelProblem(
                    what=one.name,
                    because=refusal.text if refusal else "it was removed and came back",
                )
                for one, refusal in zip(owned, results, strict=True)
                if one.name in left
            )
        return ()

    def remains(self, *, but: Claim | None = None) -> bool:
        """Whether anything of ours is in the kernel, leftovers included; `but` as in `withdraw`."""
        return any(True for _ in self._everything(but))

    def _everything(self, but: Claim | None) -> Iterator[_Owned]:
        """All that is ours, in an order in which stopping anywhere is safe.

        The rule that looks up the steers comes first: without it all packets take the host's own
        routes. The rule that other rules jump to comes last.
        """
        claim = self.claim
        if not claim.sites:
            return  # an empty claim: see from_config.NOTHING
        rules = [rule for family in Family for rule in self._rules_of(family, but)]
        steering = [rule for rule in rules if _looks_up(rule.numbers, claim.table)]
        targets = [rule for rule in rules if rule.numbers.action == Action.NOP]
        routes = [
            route
            for table in claim.tables
            for family in Family
            for route in self._routes_of(family, table, but)
        ]
        yield from steering
        yield from routes
        yield from (rule for rule in rules if rule not in steering and rule not in targets)
        yield from targets

    def _rules_of(self, family: Family, but: Claim | None) -> Iterator[_Owned]:
        for body in self._query.dump(rtnetlink.GETRULE, rtnetlink.rules_of(family)):
            read = rtnetlink.rule_numbers(body)
            # A kernel without IPv6 answers with all families that it has.
            if read is None or read.family is not family or not is_our_rule(read, self.claim):
                continue
            if but is None or not but.sites or not is_our_rule(read, but):
                yield _Owned(numbers=read, body=body, rule=True)

    def _routes_of(self, family: Family, table: int, but: Claim | None) -> Iterator[_Owned]:
        protocol = self.claim.protocol
        if but is not None and but.sites and table in but.tables and protocol == but.protocol:
            return
        request = rtnetlink.routes_of(family, table, protocol)
        for body in self._query.dump(rtnetlink.GETROUTE, request):
            read = rtnetlink.route_numbers(body)
            place = family, table, protocol
            if read is not None and (read.family, read.table, read.protocol) == place:
                yield _Owned(numbers=read, body=body, rule=False)

    def _send_all(self, requests: Sequence[KernelRequest]) -> list[KernelRefusal | None]:
        batches = (requests[at : at + BATCH] for at in range(0, len(requests), BATCH))
        return [refusal for batch in batches for refusal in self._send(batch)]

    def _send(self, requests: Sequence[KernelRequest]) -> tuple[KernelRefusal | None, ...]:
        return self._writing.carry_out(requests)


def _looks_up(rule: Numbers, table: int) -> bool:
    return rule.action == Action.LOOKUP and rule.table == table
