"""What the four resolvers do with a copy that is old or broken: behaviour that is relied on.

The real servers are silent where an answer has to come from the copy. Each name is asked for once,
so that no cache answers. If one of these fails after an upgrade of a resolver, its page in the docs
and its driver have to be read again.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

import dns.edns
import pytest
from rootcopies import RootCopies, root_copies, serial, without_digest_match, word

from steering.config.resolvers import (
    BindControl,
    Control,
    KnotControl,
    PowerDnsControl,
    UnboundControl,
)
from steering.lab.network.sandbox import LabError
from steering.lab.network.topology import EDGE
from steering.lab.servers import rootzone
from steering.lab.servers.copies import Bind, Copying, Knot, Recursor, Unbound, ask
from steering.lab.waiting import until
from steering.resolver_settings import dangers

pytestmark = pytest.mark.lab

SOON = 6.0
"""Seconds until signatures end that have to be valid for a moment."""


def await_end(ends: float) -> None:
    """Until signatures that end at this time have ended."""
    until(lambda: time.time() > ends + 1.0, 60.0, every=0.05)


# --- the source ---------------------------------------------------------------------------------


def test_a_server_that_does_not_know_a_new_type_s_name_goes_on_serving_what_it_had() -> None:
    """4 October 2023: its clients can see only that the serial stays."""
    with root_copies() as scene:
        before = scene.distributor.serial()
        for times in range(1, 4):
            zone = scene.make(new_type=True)
            scene.publish(zone)
            scene.distributor.give(rootzone.told(zone))
            until(lambda: failed_loads(scene), 20.0, wanted=times)
            assert scene.distributor.serial() == before
        scene.distributor.give_and_wait(zone, scene.root.serial)


def failed_loads(scene: RootCopies) -> int:
    return scene.distributor.tail(999).count("zone event 'load' failed")


# --- Unbound ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fallback", [False, True], ids=["alone", "fallback"])
@pytest.mark.parametrize("ended", ["lease", "signatures"])
def test_unbound_s_ended_copy_fails_every_uncached_name_unless_it_falls_back(
    ended: str, fallback: bool
) -> None:
    """The lease is SOA expire. Where it is the signatures that ended, it still lists a serial."""
    with root_copies(expire=6 if ended == "lease" else 600, refresh=2, retry=2) as scene:
        unbound = scene.resolver(Unbound, fallback=fallback)
        ends = time.time() + (3600.0 if ended == "lease" else SOON)
        scene.distributor.give_and_wait(scene.make(ends=ends), scene.root.serial)
        unbound.start()
        until(lambda: listed(unbound) == scene.root.serial)
        assert word(unbound.ask("d0001.", "DS")) == "NOERROR+AD"
        scene.distributor.stop()
        if ended == "lease":
            until(lambda: "expired" in unbound.run(*unbound.control, "list_auth_zones"), 40.0)
        else:
            await_end(ends)
            assert listed(unbound) == scene.root.serial
        assert word(unbound.ask("d0003.", "DS")) == ("NOERROR+AD" if fallback else "SERVFAIL")
        assert word(unbound.ask("no-such-1.", "A")) == ("NXDOMAIN+AD" if fallback else "SERVFAIL")
        unbound.include.write_text("# out\n")
        unbound.run(*unbound.control, "reload_keep_cache")
        unbound.run(*unbound.control, "flush_zone", ".")
        assert word(unbound.ask("d0005.", "DS")) == "NOERROR+AD"


def test_unbound_refuses_questions_without_recursion_about_its_copy() -> None:
    with root_copies() as scene:
        unbound = scene.resolver(Unbound)
        unbound.start()
        until(lambda: listed(unbound) == scene.root.serial)
        assert serial(unbound.ask(".", "SOA")) == scene.root.serial
        assert word(unbound.ask("d0001.", "DS", rd=False)) == "REFUSED"


@pytest.mark.parametrize("spoiled", ["unknown mnemonic", "cut"])
def test_unbound_1_17_lets_half_a_zone_go_live_and_does_not_start_with_it(spoiled: str) -> None:
    """Neither its ZONEMD nor the serial shows it. So no file is written in place, `unbound-
    checkconf` is asked before, and names at the zone's end after.
    """
    with root_copies() as scene:
        unbound = scene.resolver(Unbound, by_file=scene.world.work / "copy.zone")
        assert unbound.by_file is not None
        unbound.by_file.write_text(scene.file.read_text())
        unbound.start()
        assert word(unbound.ask(scene.root.last, "DS")) == "NOERROR+AD"
        lines = scene.make().splitlines()
        half = lines[: len(lines) // 2]
        new = [f"new.\t60\tIN\t{rootzone.NEW_NAME}\t1", *lines[len(half) :]]
        broken = half + (new if spoiled == "unknown mnemonic" else [lines[len(half)][:20]])
        unbound.by_file.write_text("\n".join(broken))
        with pytest.raises(LabError, match="error"):
            unbound.run("unbound-checkconf", str(unbound.work / "unbound.conf"))
        done = scene.world.run(EDGE, [*unbound.control, "auth_zone_reload", "."], check=False)
        assert "error failed to read" in done.stdout + done.stderr
        unbound.run(*unbound.control, "flush_zone", ".")
        scene.silence_the_real_servers()
        assert listed(unbound) == scene.root.serial, "the new serial is live"
        assert word(unbound.ask("d0001.", "DS")) == "NOERROR+AD"
        assert word(unbound.ask("d0297.", "DS")) in {"SERVFAIL", "silence", "NXDOMAIN"}
        unbound.stop()
        with pytest.raises(LabError, match="ended"):
            unbound.start()


# --- BIND ---------------------------------------------------------------------------------------


def test_bind_s_mirror_answers_with_ad_when_its_signatures_have_ended() -> None:
    with root_copies() as scene:
        ends = time.time() + SOON
        old = scene.make(ends=ends)
        scene.distributor.give_and_wait(old, scene.root.serial)
        bind = scene.resolver(Bind)
        bind.start()
        until(lambda: word(bind.ask(".", "SOA", rd=False)) == "NOERROR+AD")
        await_end(ends)
        assert word(bind.ask("d0001.", "DS")) == "NOERROR+AD+EXPIRED"
        assert word(bind.ask("no-such-1.", "A")) == "NXDOMAIN+AD+EXPIRED"
        bind.run(*bind.control, "retransfer", ".")
        assert word(bind.ask("d0003.", "DS")) == "NOERROR+AD+EXPIRED", "retransfer does not help"
        bind.include.write_text("# out\n")
        bind.run(*bind.control, "reconfig")
        assert word(bind.ask("d0005.", "DS")) == "NOERROR+AD"
        assert word(bind.ask("no-such-2.", "A")) == "NXDOMAIN+AD"


def test_bind_s_mirror_tells_how_long_it_will_serve_and_keeps_its_zone_over_a_bad_one() -> None:
    with root_copies(expire=600) as scene:
        bind = scene.resolver(Bind)
        bind.start()
        until(lambda: word(bind.ask(".", "SOA", rd=False)) == "NOERROR+AD")
        old = scene.root.serial
        expire = dns.edns.GenericOption(dns.edns.OptionType.make(9), b"")  # RFC 7314
        answer = ask(scene.world, bind.address, ".", "SOA", rd=False, options=[expire])
        assert answer is not None
        (left,) = [option for option in answer.options if int(option.otype) == 9]
        assert 500 < int.from_bytes(left.to_wire() or b"", "big") <= 600
        zone = scene.make(ends=time.time() - 60)
        scene.distributor.give_and_wait(zone, scene.root.serial)
        until(lambda: "zone verification failed" in bind.log(), 40.0)
        assert serial(bind.ask(".", "SOA", rd=False)) == old


def test_bind_s_mirror_takes_a_zone_with_a_wrong_digest() -> None:
    with root_copies() as scene:
        zone = without_digest_match(scene.make())
        scene.distributor.give_and_wait(zone, scene.root.serial)
        bind = scene.resolver(Bind)
        bind.start()
        until(lambda: serial(bind.ask(".", "SOA", rd=False)) == scene.root.serial)


# --- PowerDNS Recursor --------------------------------------------------------------------------


def test_the_recursor_fails_names_that_it_loaded_before_their_signatures_ended() -> None:
    with root_copies() as scene:
        ends = time.time() + SOON + 4.0
        scene.distributor.give_and_wait(scene.make(ends=ends), scene.root.serial)
        recursor = scene.resolver(Recursor, refresh=3600)
        recursor.start()
        until(lambda: "Loaded zone into cache" in recursor.log(), 30.0)
        assert time.time() < ends, "the machine is too busy for this test"
        scene.silence_the_real_servers()
        assert word(recursor.ask("d0001.", "DS")) == "NOERROR+AD"
        for real in scene.reals:
            real.speak()
        await_end(ends)
        found = [word(recursor.ask(f"d{n:04}.", "DS")) for n in range(3, 23, 2)]
        recursor.include.write_text("-- out\n")
        recursor.run(*recursor.control, "reload-lua-config")
        recursor.run(*recursor.control, "wipe-cache", ".$")
        after = [word(recursor.ask(f"d{n:04}.", "DS")) for n in range(3, 23, 2)]
        assert set(after) == {"NOERROR+AD"}
        assert found.count("SERVFAIL") == len(found), found


@pytest.mark.parametrize("spoiled", ["wrong digest", "expired"])
def test_the_recursor_refuses_a_spoiled_copy_and_asks_the_real_servers(spoiled: str) -> None:
    with root_copies() as scene:
        ends = time.time() - 60 if spoiled == "expired" else None
        zone = scene.make(ends=ends)
        if spoiled == "wrong digest":
            zone = without_digest_match(zone)
        scene.distributor.give_and_wait(zone, scene.root.serial)
        recursor = scene.resolver(Recursor)
        recursor.start()
        until(lambda: "fail" in recursor.log().lower(), 30.0)
        assert "Loaded zone into cache" not in recursor.log()
        assert word(recursor.ask("d0001.", "DS")) == "NOERROR+AD"
        assert word(recursor.ask("no-such-1.", "A")) == "NXDOMAIN+AD"


# --- Knot Resolver ------------------------------------------------------------------------------


@pytest.mark.parametrize("spoiled", ["unknown mnemonic", "expired"])
def test_knot_refuses_a_spoiled_copy_and_asks_the_real_servers(spoiled: str) -> None:
    with root_copies() as scene:
        expired = spoiled == "expired"
        zone = scene.make(new_type=not expired, ends=time.time() - 60 if expired else None)
        knot = scene.resolver(Knot)
        file = scene.world.work / "given"
        file.write_text(zone if expired else rootzone.told(zone))
        knot.give(file)
        knot.start()
        until(lambda: refused(knot, expired=expired), 30.0, tell=knot.log)
        assert word(knot.ask("d0001.", "DS")) == "NOERROR+AD"
        assert word(knot.ask("no-such-1.", "A")) == "NXDOMAIN+AD"


def refused(knot: Knot, *, expired: bool) -> bool:
    """An unknown word fails the file; of what has ended nothing is taken into the cache."""
    return "import failed" in knot.log() or (expired and "validating and caching" in knot.log())


def test_knot_takes_a_copy_with_a_wrong_digest() -> None:
    with root_copies() as scene:
        knot = scene.resolver(Knot)
        file = scene.world.work / "given"
        file.write_text(without_digest_match(scene.make()))
        knot.give(file)
        knot.start()
        until(lambda: "validating and caching" in knot.log(), 30.0, tell=knot.log)
        scene.silence_the_real_servers()
        assert word(knot.ask("d0001.", "DS")) == "NOERROR+AD"


# --- all ----------------------------------------------------------------------------------------


def test_a_copy_of_the_root_answers_while_all_real_servers_are_silent() -> None:
    """What a copy is for; and where PowerDNS Recursor and Knot can't deny a name without them."""
    with root_copies() as scene:
        unbound, bind = scene.resolver(Unbound), scene.resolver(Bind)
        recursor, knot = scene.resolver(Recursor), scene.resolver(Knot)
        knot.give(scene.file)
        for resolver in scene.resolvers:
            resolver.start()
        until(lambda: listed(unbound) == scene.root.serial)
        until(lambda: word(bind.ask(".", "SOA", rd=False)) == "NOERROR+AD")
        until(lambda: "Loaded zone into cache" in recursor.log(), 30.0)
        until(lambda: "validating and caching" in knot.log(), 30.0)
        scene.silence_the_real_servers()
        for resolver in scene.resolvers:
            for name in ("d0001.", scene.root.last):
                assert word(resolver.ask(name, "DS")) == "NOERROR+AD", resolver.kind
        assert word(unbound.ask("no-such-1.", "A")) == "NXDOMAIN+AD"
        assert word(bind.ask("no-such-1.", "A")) == "NXDOMAIN+AD"


def test_the_witness_calls_the_scene_s_zone_whole_and_sees_a_wrong_digest() -> None:
    with root_copies(new_type=True, count=20) as scene:
        anchor = scene.world.work / "anchor"
        anchor.write_text(scene.keys.anchor("."))
        argv = ["ldns-verify-zone", "-ZZ", "-k", str(anchor), str(scene.file)]
        assert subprocess.run(argv, capture_output=True, check=False).returncode == 0
        scene.file.write_text(without_digest_match(scene.file.read_text()))
        assert subprocess.run(argv, capture_output=True, check=False).returncode != 0


def listed(unbound: Unbound) -> int | None:
    """The serial that it shows of its copy."""
    said = unbound.run(*unbound.control, "list_auth_zones")
    serials = [word.split("=")[-1] for word in said.replace("serial ", "serial=").split()]
    found = [int(text) for text in serials if text.isdigit()]
    return found[0] if found else None


def test_the_recursor_s_soa_is_that_of_its_last_denial_and_not_of_its_copy() -> None:
    """So its copy can't be seen at it: the agent looks at the copy's source, or its file."""
    with root_copies() as scene:
        recursor = scene.resolver(Recursor, refresh=3600)
        recursor.start()
        until(lambda: "Loaded zone into cache" in recursor.log(), 30.0)
        old = scene.root.serial
        assert serial(recursor.ask(".", "SOA")) == old
        scene.publish(scene.make())
        assert word(recursor.ask("no-such-1.", "A")) == "NXDOMAIN+AD"
        assert serial(recursor.ask(".", "SOA")) == scene.root.serial


def test_steering_check_reads_what_the_four_really_run_with() -> None:
    kinds: Sequence[tuple[type[Copying], type[Control], str]] = (
        (Unbound, UnboundControl, "unbound.conf"),
        (Bind, BindControl, "named.conf"),
        (Recursor, PowerDnsControl, "recursor.conf"),
        (Knot, KnotControl, "config"),
    )
    with root_copies(count=20) as scene:
        for kind, control, file in kinds:
            resolver: Copying = scene.resolver(kind)
            resolver.start()
            assert not dangers(control, resolver.work / file, ".")
            resolver.stop()
        alone = scene.resolver(Unbound, fallback=False)
        alone.start()
        (danger,) = dangers(UnboundControl, alone.work / "unbound.conf", ".")
        assert danger.place.file == alone.include
        assert "fallback-enabled is no" in danger.message
