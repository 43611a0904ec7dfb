"""What an agent thinks, asks, listens and acts with: all that is built from one version of files.

A successor is built beside the outfit in use and shares with it what the files say nothing new
of: sockets that resolvers write to, keys that are known, the hold on the kernel.
Building may fail, and then nothing has changed; `succeed` does not, and gives back what the
other one had for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from steering.act.bgp import process
from steering.act.guard_client import found
from steering.act.kernel.actuator import KernelActuator
from steering.act.kernel.claim import Claim
from steering.act.kernel.conntrack import Conntrack
from steering.act.kernel.state import KernelProblem, KernelReader
from steering.act.lease import Lease, LeaseState
from steering.act.off_switch import OffSwitch
from steering.act.other_guards import leases_of, other_guards
from steering.act.preflight import Blame, preflight
from steering.agent import from_config
from steering.agent.actuators import Actuators
from steering.agent.dnstap_source import DnstapSource
from steering.agent.from_config import CannotRunError
from steering.agent.kernel_paths import KernelPaths
from steering.agent.reload import Version
from steering.config import Mode
from steering.model import Round
from steering.observe.dnssec.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.probe.prober import Prober
from steering.observe.strays import Strays
from steering.observe.traffic.forwarded import Forwarding
from steering.observe.traffic.resolver_sources import Sources
from steering.observe.traffic.verify import SampleVerifier
from steering.system import descriptors


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """What an agent has from its start to its end, whatever the files say."""

    switch: OffSwitch
    kept_off: Callable[[], bool]
    """Whether what lasts over a restart of the host says off, beside the switch."""
    deliver: Callable[[Round], None]
    strays: Strays


class Components:
    """Everything built from one setup. Raises CannotRunError where something can't be had."""

    def __init__(self, version: Version, lasting: Lasting, was: Components | None = None) -> None:
        self.setup, self.layout, self.chain = version.setup, version.layout, version.chain
        setup, layout = self.setup, self.layout
        self.claim = from_config.claim_of(setup.config)
        self.allowed = from_config.addresses_of(setup)
        self.notices: tuple[str, ...] = ()
        """What of this host the agent can live with."""
        self.left: tuple[KernelProblem, ...] = ()
        """What others had left and would not go."""
        self._lasting = lasting
        self.sources: Sources = Sources(
            from_config.sources_of(setup.config),
            self.allowed,
            pins=from_config.site_pins(setup.config),
            was=was.sources if was else None,
        )
        self.forwarding: Forwarding | None = (
            None
            if self.claim is None  # routers see what this host has made of it
            else Forwarding(
                self.allowed,
                Conntrack(setup.config.transit_interfaces).questions,
                carried=setup.config.forwarded_sources,
                was=was.forwarding if was else None,
            )
        )
        self.signatures: Signatures = was.signatures if was else Signatures()
        self.keys = self._believe(was)
        with ExitStack() as made:  # what is new is given back if the rest can't be had
            self.dnstap = self._listen(was, made)
            self._kernel, self.actuators = self._take_hold(was, made)
            # An agent that acts by BGP alone has no marks, and nothing in the kernel to read.
            held = self._kernel if self.claim is not None else None
            self.reader = held or self._read(was, made)
            self.ways: KernelPaths = (
                was.ways
                if was and (was.reader, was.actuators) == (self.reader, self.actuators)
                else KernelPaths(self.reader, acting=held is not None, watched=self.allowed)
            )
            self.prober = Prober(
                layout.targets,
                from_config.asked_of(setup.policies),
                from_config.probed_paths(self.claim if self.ways.marked else None, setup.config),
                from_config.pace_of(setup.config),
                keys=self.keys,
                signatures=self.signatures,
                deliver=lasting.deliver,
                gateway_dead=self.ways.gateway_dead,
                leads=self.ways.leads,
                link=self.ways.link,
                sources=self.sources.in_use,
                strays=lasting.strays,
                at_once=descriptors.for_questions(),
                known=version.delegations,
            )
            made.pop_all()

    def adopt(self) -> None:
        """Take hold of what is installed within its lease. Raises CannotRunError."""
        if self.actuators is not None:
            self.left = _adopt(self.actuators, young=True)
            self.notices += self.actuators.notices
            self.actuators.wait()
        elif self.setup.config.mode is Mode.REHEARSE:
            self._end_speaker(self.setup.config.runtime)

    def _end_speaker(self, runtime: Path) -> None:
        """End what an agent that is dead has left to tell routers: this one tells them nothing.

        One whose agent lives is that one's.
        """
        try:
            state = Lease(runtime).read()
            if state is None or Path(f"/proc/{state.pid}").exists():
                return
            if process.end(runtime):
                ended = (
                    "a BGP speaker was found within its lease, and ended, and its routes with it"
                )
                self.notices += (f"{ended}: this agent steers nothing",)
        except OSError as error:
            self.left += (KernelProblem(what="BGP speaker", because=str(error)),)

    def succeed(self, was: Components) -> None:
        """Take the place of another one, which ends but for what is shared. Raises nothing."""
        if self.dnstap is was.dnstap and self.dnstap is not None:
            self.dnstap.watch(self.layout)
        elif was.dnstap is not None and self.dnstap is not None:
            self.dnstap.succeed(was.dnstap)
        elif was.dnstap is not None:
            was.dnstap.close()
        if self.dnstap is not None:
            self.dnstap.look.keys = self.keys
        self.ways.watch(self.allowed)
        if self.actuators is not None and self._kernel is not None:
            self.actuators.serve(self.setup.config, self._kernel, self.allowed)
        elif was.actuators is not None:
            self.left = was.actuators.retire()
        if was.actuators is None and was.reader is not None and was.reader is not self.reader:
            was.reader.close()

    def close(self) -> None:
        """Give back what is open. Takes nothing out of the kernel: the lease does."""
        if self.dnstap is not None:
            self.dnstap.close()
        if self.actuators is not None:
            self.actuators.close()
        elif self.reader is not None:
            self.reader.close()

    def _believe(self, was: Components | None) -> KeyStore:
        if was is None:
            return from_config.key_store(self.chain, self.signatures)
        if was.chain == self.chain:
            return was.keys
        return from_config.key_store(self.chain, self.signatures, known=was.keys)

    def _listen(self, was: Components | None, made: ExitStack) -> DnstapSource | None:
        places, old = from_config.places_of(self.setup.config), was.dnstap if was else None
        if not places:
            return None
        if old is not None and old.places == places:
            return old
        try:
            dnstap = DnstapSource(
                self.layout, places, old.look if old else SampleVerifier(self.keys), old
            )
        except LookupError as error:
            raise CannotRunError(2, f"observe.dnstap_group: {error.args[0]}") from error
        except OSError as error:
            code = 3 if isinstance(error, PermissionError) else 1
            where = f"{error.filename}: " if error.filename else ""
            raise CannotRunError(
                code, f"observe.dnstap: {where}{error.strerror or error}"
            ) from error
        made.callback(dnstap.close)
        return dnstap

    def _take_hold(
        self, was: Components | None, made: ExitStack
    ) -> tuple[KernelActuator | None, Actuators | None]:
        """What writes, and what it is to write by: nothing is written yet."""
        config, old = self.setup.config, was.actuators if was else None
        claim = from_config.held_by(config)
        if claim is None:
            return None, None
        if old is not None and old.kernel.claim == claim:
            return old.kernel, old
        former = (old.kernel.claim, *old.former) if old else ()
        try:
            self._look_about(claim, former)
            if old is not None:
                kernel = old.successor(claim)
                made.callback(old.drop_successor, kernel)
                self.notices += old.notices
                return kernel, old
            actuators = Actuators(config, claim, self._lasting.switch, self.allowed)
        except OSError as error:
            raise CannotRunError(1, f"act.kernel: {error}") from error
        made.callback(actuators.close)
        if was is not None:  # from now on it acts; a guard comes before the first route does
            self.left = _adopt(actuators, young=False)
            self.notices += actuators.notices
        return actuators.kernel, actuators

    def _read(self, was: Components | None, made: ExitStack) -> KernelReader | None:
        """What the kernel is read by where nothing is written."""
        if self.claim is None:
            return None
        if was is not None and was.actuators is None and was.reader and was.claim == self.claim:
            return was.reader
        try:
            reader = KernelReader(self.claim)
        except OSError as error:
            raise CannotRunError(1, f"act.kernel: {error}") from error
        made.callback(reader.close)
        return reader

    def _look_about(self, claim: Claim, former: tuple[Claim, ...]) -> None:
        config = self.setup.config
        leases = () if former else _in_force(config.runtime, claim)
        complaints = preflight(
            claim,
            self.allowed,
            state=config.state,
            runtime=config.runtime,
            former=former or tuple(c for lease in leases for c in lease.claims if c != claim),
            leased=bool(leases),
        )
        fatal = [c for c in complaints if c.kind is not Blame.NOTICE]
        if fatal:
            raise CannotRunError(max(int(c.kind) for c in fatal), *(str(c) for c in fatal))
        self.notices = tuple(map(str, complaints))


def _in_force(runtime: Path, claim: Claim) -> tuple[LeaseState, ...]:
    """The leases that a restart goes on by."""
    try:
        return found(Lease(runtime), leases_of(other_guards(runtime, claim)))
    except OSError:
        return ()  # adopting will meet the same, and say so


def _adopt(actuators: Actuators, *, young: bool) -> tuple[KernelProblem, ...]:
    try:
        return actuators.adopt(young=young)
    except OSError as error:
        raise CannotRunError(
            1, f"runtime: no lease or no guard can be had: {error}; nothing is installed anew"
        ) from error
