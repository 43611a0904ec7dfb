"""All that is built from one version of the files: prober, keys, dnstap, kernel, BGP.

After a change of the files new components are built beside those in use. They share what the
change does not concern: the sockets that resolvers write to, known keys, the kernel actuator.
Building may fail, and then nothing has changed. `take_over` does not fail; it closes what only
the old components used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from steering import from_config
from steering.act.bgp import process
from steering.act.guard_client import found
from steering.act.kernel.actuator import KernelActuator
from steering.act.kernel.claim import Claim
from steering.act.kernel.conntrack import Conntrack
from steering.act.kernel.problem import KernelProblem
from steering.act.kernel.state import KernelReader
from steering.act.lease import Lease, LeaseState
from steering.act.off_switch import OffSwitch
from steering.act.other_guards import leases_of, other_guards
from steering.act.preflight import Blame, preflight
from steering.agent.actuators import Actuators
from steering.agent.dnstap_source import DnstapSource
from steering.agent.kernel_paths import KernelPaths
from steering.agent.reload import Version
from steering.config import Mode
from steering.errors import CannotRunError
from steering.model import Round
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.probe.prober import Prober
from steering.observe.strays import Strays
from steering.observe.traffic.forwarded import Forwarding
from steering.observe.traffic.resolver_sources import Sources
from steering.observe.traffic.verify import SampleVerifier
from steering.system import descriptors


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """What an agent has from its start to its end, whatever the files hold."""

    switch: OffSwitch
    state_off: Callable[[], bool]
    """Whether the off switch in `state` is on, which lasts over a restart of the host."""
    deliver: Callable[[Round], None]
    strays: Strays


class Components:
    """Everything built from one version. Raises CannotRunError where this host lacks something."""

    def __init__(self, version: Version, lasting: Lasting, was: Components | None = None) -> None:
        self.setup, self.index, self.key_sources = (
            version.setup,
            version.index,
            version.key_sources,
        )
        setup, index = self.setup, self.index
        self.claim = from_config.claim_of(setup.config)
        self.allowed = from_config.addresses_of(setup)
        self.notices: tuple[str, ...] = ()
        """What the agent found on this host and can run with."""
        self.leftovers: tuple[KernelProblem, ...] = ()
        """What an earlier agent or claim left and could not be removed."""
        self._lasting = lasting
        self.sources: Sources = Sources(
            from_config.sources_of(setup.config),
            self.allowed,
            pins=from_config.site_pins(setup.config),
            was=was.sources if was else None,
        )
        self.forwarding: Forwarding | None = (
            None
            if self.claim is None  # routers see packets after this host's translation (NAT)
            else Forwarding(
                self.allowed,
                Conntrack(setup.config.transit_interfaces).questions,
                carried=setup.config.forwarded_sources,
                was=was.forwarding if was else None,
            )
        )
        self.signatures: Signatures = was.signatures if was else Signatures()
        self.keys = self._key_store(was)
        with ExitStack() as opened:  # what is new is closed if building the rest fails
            self.dnstap = self._dnstap_source(was, opened)
            self._kernel, self.actuators = self._build_actuators(was, opened)
            # An agent that acts by BGP alone has no marks, and nothing in the kernel to read.
            held = self._kernel if self.claim is not None else None
            self.reader = held or self._build_reader(was, opened)
            self.kernel_paths: KernelPaths = (
                was.kernel_paths
                if was and (was.reader, was.actuators) == (self.reader, self.actuators)
                else KernelPaths(self.reader, acting=held is not None, watched=self.allowed)
            )
            self.prober = Prober(
                index.targets,
                from_config.probed_policies(setup.policies),
                from_config.probed_paths(
                    self.claim if self.kernel_paths.marked else None, setup.config
                ),
                from_config.pace_of(setup.config),
                keys=self.keys,
                signatures=self.signatures,
                deliver=lasting.deliver,
                gateway_dead=self.kernel_paths.gateway_dead,
                leads=self.kernel_paths.leads,
                link=self.kernel_paths.link,
                sources=self.sources.in_use,
                strays=lasting.strays,
                at_once=descriptors.for_questions(),
                known=version.delegations,
            )
            opened.pop_all()

    def adopt(self) -> None:
        """Adopt what is installed within its lease. Raises CannotRunError."""
        if self.actuators is not None:
            self.leftovers = _adopt(self.actuators, starting=True)
            self.notices += self.actuators.notices
            self.actuators.wait()
        elif self.setup.config.mode is Mode.REHEARSE:
            self._end_speaker(self.setup.config.runtime)

    def _end_speaker(self, runtime: Path) -> None:
        """End the BGP speaker of an agent that has ended: this one announces nothing.

        A speaker whose agent still runs is left alone.
        """
        try:
            state = Lease(runtime).read()
            if state is None or Path(f"/proc/{state.pid}").exists():
                return
            if process.end(runtime):
                ended = "ended a BGP speaker that an earlier agent left, and with it its routes"
                self.notices += (f"{ended}: this agent steers nothing",)
        except OSError as error:
            self.leftovers += (KernelProblem(what="BGP speaker", because=str(error)),)

    def take_over(self, was: Components) -> None:
        """Replace these components, and close what is not shared with them. Raises nothing."""
        if self.dnstap is was.dnstap and self.dnstap is not None:
            self.dnstap.watch(self.index)
        elif was.dnstap is not None and self.dnstap is not None:
            self.dnstap.take_over(was.dnstap)
        elif was.dnstap is not None:
            was.dnstap.close()
        if self.dnstap is not None:
            self.dnstap.verifier.keys = self.keys
        self.kernel_paths.watch(self.allowed)
        if self.actuators is not None and self._kernel is not None:
            self.actuators.reconfigure(self.setup.config, self._kernel, self.allowed)
        elif was.actuators is not None:
            self.leftovers = was.actuators.shut_down()
        if was.actuators is None and was.reader is not None and was.reader is not self.reader:
            was.reader.close()

    def close(self) -> None:
        """Close what is open. Removes nothing from the kernel: the lease does."""
        if self.dnstap is not None:
            self.dnstap.close()
        if self.actuators is not None:
            self.actuators.close()
        elif self.reader is not None:
            self.reader.close()

    def _key_store(self, was: Components | None) -> KeyStore:
        if was is None:
            return from_config.key_store(self.key_sources, self.signatures)
        if was.key_sources == self.key_sources:
            return was.keys
        return from_config.key_store(self.key_sources, self.signatures, known=was.keys)

    def _dnstap_source(self, was: Components | None, opened: ExitStack) -> DnstapSource | None:
        places, old = from_config.dnstap_places(self.setup.config), was.dnstap if was else None
        if not places:
            return None
        if old is not None and old.places == places:
            return old
        try:
            dnstap = DnstapSource(
                self.index, places, old.verifier if old else SampleVerifier(self.keys), old
            )
        except LookupError as error:
            raise CannotRunError(2, f"observe.dnstap_group: {error.args[0]}") from error
        except OSError as error:
            code = 3 if isinstance(error, PermissionError) else 1
            where = f"{error.filename}: " if error.filename else ""
            raise CannotRunError(
                code, f"observe.dnstap: {where}{error.strerror or error}"
            ) from error
        opened.callback(dnstap.close)
        return dnstap

    def _build_actuators(
        self, was: Components | None, opened: ExitStack
    ) -> tuple[KernelActuator | None, Actuators | None]:
        """What writes to the kernel and routers; nothing is written yet."""
        config, old = self.setup.config, was.actuators if was else None
        claim = from_config.acting_claim_of(config)
        if claim is None:
            return None, None
        if old is not None and old.kernel.claim == claim:
            return old.kernel, old
        former = (old.kernel.claim, *old.former_claims) if old else ()
        try:
            self._preflight(claim, former)
            if old is not None:
                kernel = old.actuator_for(claim)
                opened.callback(old.close_unused, kernel)
                self.notices += old.notices
                return kernel, old
            actuators = Actuators(config, claim, self._lasting.switch, self.allowed)
        except OSError as error:
            raise CannotRunError(1, f"act.kernel: {error}") from error
        opened.callback(actuators.close)
        if was is not None:  # it acts from now on, and needs a guard before the first route
            self.leftovers = _adopt(actuators, starting=False)
            self.notices += actuators.notices
        return actuators.kernel, actuators

    def _build_reader(self, was: Components | None, opened: ExitStack) -> KernelReader | None:
        """The reader of the kernel for an agent that writes nothing."""
        if self.claim is None:
            return None
        if was is not None and was.actuators is None and was.reader and was.claim == self.claim:
            return was.reader
        try:
            reader = KernelReader(self.claim)
        except OSError as error:
            raise CannotRunError(1, f"act.kernel: {error}") from error
        opened.callback(reader.close)
        return reader

    def _preflight(self, claim: Claim, former: tuple[Claim, ...]) -> None:
        config = self.setup.config
        leases = () if former else _leases_in_force(config.runtime, claim)
        problems = preflight(
            claim,
            self.allowed,
            state=config.state,
            runtime=config.runtime,
            former=former or tuple(c for lease in leases for c in lease.claims if c != claim),
            leased=bool(leases),
        )
        fatal = [p for p in problems if p.kind is not Blame.NOTICE]
        if fatal:
            raise CannotRunError(max(int(p.kind) for p in fatal), *(str(p) for p in fatal))
        self.notices = tuple(map(str, problems))


def _leases_in_force(runtime: Path, claim: Claim) -> tuple[LeaseState, ...]:
    """The leases that an agent which starts now would adopt."""
    try:
        return found(Lease(runtime), leases_of(other_guards(runtime, claim)))
    except OSError:
        return ()  # adopting fails for the same reason, and reports it


def _adopt(actuators: Actuators, *, starting: bool) -> tuple[KernelProblem, ...]:
    try:
        return actuators.adopt(starting=starting)
    except OSError as error:
        raise CannotRunError(
            1, f"runtime: can't get a lease or a guard: {error}; nothing new is installed"
        ) from error
