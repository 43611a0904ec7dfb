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
from steering.act.claim import Claim
from steering.act.conntrack import Conntrack
from steering.act.kernel import KernelActuator
from steering.act.lease import Lease, LeaseState
from steering.act.off import OffSwitch
from steering.act.preflight import Fault, preflight
from steering.act.reader import KernelReader, Trouble
from steering.act.rivals import leases_of, rivals
from steering.act.watchdog import found
from steering.agent import parts
from steering.agent.ears import Ears
from steering.agent.hands import Hands
from steering.agent.parts import CannotRun
from steering.agent.reload import Version
from steering.agent.ways import Ways
from steering.config import Mode
from steering.model import Round
from steering.observe.forwarded import Forwarding
from steering.observe.keys import KeyStore
from steering.observe.probe import Prober
from steering.observe.second import SecondLook
from steering.observe.signatures import Signatures
from steering.observe.sources import Sources
from steering.observe.strays import Strays
from steering.system import descriptors


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """What an agent has from its start to its end, whatever the files say."""

    switch: OffSwitch
    kept_off: Callable[[], bool]
    """Whether what lasts over a restart of the host says off, beside the switch."""
    deliver: Callable[[Round], None]
    strays: Strays


class Outfit:
    """Everything built from one setup. Raises CannotRun where something can't be had."""

    def __init__(self, version: Version, lasting: Lasting, was: Outfit | None = None) -> None:
        self.setup, self.layout, self.chain = version.setup, version.layout, version.chain
        setup, layout = self.setup, self.layout
        self.claim = parts.claim_of(setup.config)
        self.allowed = parts.addresses_of(setup)
        self.notices: tuple[str, ...] = ()
        """What of this host the agent can live with."""
        self.left: tuple[Trouble, ...] = ()
        """What others had left and would not go."""
        self._lasting = lasting
        self.sources: Sources = Sources(
            parts.sources_of(setup.config),
            self.allowed,
            pins=parts.site_pins(setup.config),
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
            self.ears = self._listen(was, made)
            self._kernel, self.hands = self._take_hold(was, made)
            # An agent that acts by BGP alone has no marks, and nothing in the kernel to read.
            held = self._kernel if self.claim is not None else None
            self.reader = held or self._read(was, made)
            self.ways: Ways = (
                was.ways
                if was and (was.reader, was.hands) == (self.reader, self.hands)
                else Ways(self.reader, acting=held is not None, watched=self.allowed)
            )
            self.prober = Prober(
                layout.targets,
                parts.asked_of(setup.policies),
                parts.probed_paths(self.claim if self.ways.marked else None, setup.config),
                parts.pace_of(setup.config),
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
        """Take hold of what is installed within its lease. Raises CannotRun."""
        if self.hands is not None:
            self.left = _adopt(self.hands, young=True)
            self.notices += self.hands.notices
            self.hands.wait()
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
            self.left += (Trouble(what="BGP speaker", because=str(error)),)

    def succeed(self, was: Outfit) -> None:
        """Take the place of another one, which ends but for what is shared. Raises nothing."""
        if self.ears is was.ears and self.ears is not None:
            self.ears.watch(self.layout)
        elif was.ears is not None and self.ears is not None:
            self.ears.succeed(was.ears)
        elif was.ears is not None:
            was.ears.close()
        if self.ears is not None:
            self.ears.look.keys = self.keys
        self.ways.watch(self.allowed)
        if self.hands is not None and self._kernel is not None:
            self.hands.serve(self.setup.config, self._kernel, self.allowed)
        elif was.hands is not None:
            self.left = was.hands.retire()
        if was.hands is None and was.reader is not None and was.reader is not self.reader:
            was.reader.close()

    def close(self) -> None:
        """Give back what is open. Takes nothing out of the kernel: the lease does."""
        if self.ears is not None:
            self.ears.close()
        if self.hands is not None:
            self.hands.close()
        elif self.reader is not None:
            self.reader.close()

    def _believe(self, was: Outfit | None) -> KeyStore:
        if was is None:
            return parts.key_store(self.chain, self.signatures)
        if was.chain == self.chain:
            return was.keys
        return parts.key_store(self.chain, self.signatures, known=was.keys)

    def _listen(self, was: Outfit | None, made: ExitStack) -> Ears | None:
        places, old = parts.places_of(self.setup.config), was.ears if was else None
        if not places:
            return None
        if old is not None and old.places == places:
            return old
        try:
            ears = Ears(self.layout, places, old.look if old else SecondLook(self.keys), old)
        except LookupError as error:
            raise CannotRun(2, f"observe.dnstap_group: {error.args[0]}") from error
        except OSError as error:
            code = 3 if isinstance(error, PermissionError) else 1
            where = f"{error.filename}: " if error.filename else ""
            raise CannotRun(code, f"observe.dnstap: {where}{error.strerror or error}") from error
        made.callback(ears.close)
        return ears

    def _take_hold(
        self, was: Outfit | None, made: ExitStack
    ) -> tuple[KernelActuator | None, Hands | None]:
        """What writes, and what it is to write by: nothing is written yet."""
        config, old = self.setup.config, was.hands if was else None
        claim = parts.held_by(config)
        if claim is None:
            return None, None
        if old is not None and old.kernel.claim == claim:
            return old.kernel, old
        former = (old.kernel.claim, *old.former) if old else ()
        try:
            self._look_about(claim, former)
            if old is not None:
                kernel = old.successor(claim)
                made.callback(old.forgo, kernel)
                self.notices += old.notices
                return kernel, old
            hands = Hands(config, claim, self._lasting.switch, self.allowed)
        except OSError as error:
            raise CannotRun(1, f"act.kernel: {error}") from error
        made.callback(hands.close)
        if was is not None:  # from now on it acts; a guard comes before the first route does
            self.left = _adopt(hands, young=False)
            self.notices += hands.notices
        return hands.kernel, hands

    def _read(self, was: Outfit | None, made: ExitStack) -> KernelReader | None:
        """What the kernel is read by where nothing is written."""
        if self.claim is None:
            return None
        if was is not None and was.hands is None and was.reader and was.claim == self.claim:
            return was.reader
        try:
            reader = KernelReader(self.claim)
        except OSError as error:
            raise CannotRun(1, f"act.kernel: {error}") from error
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
        fatal = [c for c in complaints if c.kind is not Fault.NOTICE]
        if fatal:
            raise CannotRun(max(int(c.kind) for c in fatal), *(str(c) for c in fatal))
        self.notices = tuple(map(str, complaints))


def _in_force(runtime: Path, claim: Claim) -> tuple[LeaseState, ...]:
    """The leases that a restart goes on by."""
    try:
        return found(Lease(runtime), leases_of(rivals(runtime, claim)))
    except OSError:
        return ()  # adopting will meet the same, and say so


def _adopt(hands: Hands, *, young: bool) -> tuple[Trouble, ...]:
    try:
        return hands.adopt(young=young)
    except OSError as error:
        raise CannotRun(
            1, f"runtime: no lease or no guard can be had: {error}; nothing is installed anew"
        ) from error
