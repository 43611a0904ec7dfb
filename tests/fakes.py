"""Stand-ins that object to what the real thing objects to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from steering.act.kernel.actuator import SWITCHED_OFF
from steering.act.kernel.claim import Claim
from steering.act.kernel.diff import ChangeKind, objection
from steering.act.kernel.problem import KernelProblem
from steering.model import Done, Refused

UNREACHABLE = "Network is unreachable (Nexthop has invalid gateway)"


class FakeActuator:
    """A kernel in memory, with the interface and the refusals of `KernelActuator`.

    Tests turn its knobs: `own` addresses, `linkless` sites whose link is down (as the kernel
    does, it forgets the routes through them), `foreign_routes` that stand in our table.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        may_write: Callable[[], bool] = lambda: True,
        own: Collection[str] = (),
    ) -> None:
        self.claim = claim
        self.own = frozenset(own)
        self.foreign_routes: frozenset[str] = frozenset()
        self.prepared = False
        self.steering = False
        """The rule of the steers is there."""
        self._may_write = may_write
        self._routes: dict[str, str] = {}
        self._linkless: frozenset[str] = frozenset()
        self._changed = False

    def close(self) -> None:
        pass

    @property
    def linkless(self) -> frozenset[str]:
        return self._linkless

    @linkless.setter
    def linkless(self, sites: frozenset[str]) -> None:
        self._linkless = sites
        self._routes = {a: s for a, s in self._routes.items() if s not in self._linkless}
        self._changed = True

    def removed_by_others(self, address: str) -> None:
        del self._routes[address]
        self._changed = True

    def installed(self) -> Mapping[str, str]:
        return dict(self._routes)

    def foreign(self, *, besides: Collection[Claim] = ()) -> tuple[KernelProblem, ...]:  # noqa: ARG002
        return tuple(
            KernelProblem(what=f"route {address}", because="it is not ours")
            for address in sorted(self.foreign_routes)
        )

    def own_addresses(self) -> frozenset[str]:
        return self.own

    def changed(self) -> bool:
        told, self._changed = self._changed, False
        return told

    def prepare(
        self, addresses: Collection[str], *, steering: bool = True
    ) -> tuple[KernelProblem, ...]:
        if not self.prepared and not self._may_write():
            return (KernelProblem(what="rules", because=SWITCHED_OFF),)
        self.prepared, self.steering = True, steering
        return tuple(
            KernelProblem(what=f"{len(addresses)} routes through {site}", because=UNREACHABLE)
            for site in sorted(self._linkless)
        )

    def apply(
        self, plan: Mapping[str, str], allowed: Collection[str]
    ) -> tuple[Done | Refused, ...]:
        results: list[Done | Refused] = []
        keep: set[str] = set()
        for address, site in plan.items():
            because = objection(address, site, claim=self.claim, allowed=allowed, own=self.own) or (
                "another program's route is there" if address in self.foreign_routes else None
            )
            act = ChangeKind.ADD
            if because is None:
                act = ChangeKind.REPLACE if address in self._routes else ChangeKind.ADD
                keep.add(address)
                if self._routes.get(address) == site:
                    continue
                if site in self._linkless:
                    because = UNREACHABLE
                elif not self._may_write():
                    because = SWITCHED_OFF
            if because is not None:
                results.append(Refused(action=act, address=address, site=site, because=because))
                continue
            self._routes[address] = site
            results.append(Done(action=act, address=address, site=site, seconds=0.0))
        for address in sorted(self._routes.keys() - keep):
            site = self._routes.pop(address)
            results.append(Done(action=ChangeKind.REMOVE, address=address, site=site, seconds=0.0))
        self._changed = self._changed or any(isinstance(result, Done) for result in results)
        return tuple(results)

    def lost(self) -> tuple[()]:
        return ()

    def remains(self, *, but: Claim | None = None) -> bool:
        return but is None and (self.prepared or bool(self._routes))

    def withdraw(self, *, but: Claim | None = None) -> tuple[KernelProblem, ...]:
        if but is None:
            self.prepared = False
            self._routes.clear()
        return ()
