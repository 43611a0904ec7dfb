"""When a key that nobody has shown proves a signature bad, and what that makes us ask."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from probing import COM, probing
from scripted import Server, serving
from signedzone import DAY, NOW, Key, SignedZone
from worlds import HERE, OTHER, Parent, shown

from steering.agent.own_alarms import keys_problem
from steering.lab.waiting import async_until
from steering.model import LOCAL, Outcome
from steering.observe.dnssec import anchors
from steering.observe.dnssec.keys.chain import Lack
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.keys.server_keys import AGAIN, LASTS, PARENT, PATIENCE, ServerKeys
from steering.observe.dnssec.signatures import FRESH, Signatures
from steering.remedies import KEYS

NEVER = -math.inf
KEYS_OF_COM = SignedZone("com.").dnskey()


def look(held: ServerKeys, now: float, *, good: bool) -> None:
    held.take("com.", HERE, keys=KEYS_OF_COM, good=good, now=now, wall=NOW + now)


def test_an_unknown_key_proves_nothing_before_the_server_has_shown_its_set() -> None:
    held = ServerKeys()
    look(held, 90.0, good=True)  # before: it may have got the key since
    held.miss("com.", HERE, 100.0)
    assert not held.proves("com.", HERE, 100.0, math.inf)
    look(held, 101.0, good=True)
    assert held.proves("com.", HERE, 101.0, NEVER)
    assert not held.proves("com.", OTHER, 101.0, math.inf)
    assert not held.proves("net.", HERE, 101.0, math.inf)


def test_what_a_look_proved_holds_while_unknown_keys_are_met_and_then_begins_anew() -> None:
    held = ServerKeys()
    for ten_minutes in range(5):
        held.miss("com.", HERE, 100.0 + FRESH * ten_minutes)
        look(held, 101.0 + FRESH * ten_minutes, good=True)
        assert held.proves("com.", HERE, 100.0 + FRESH * (ten_minutes + 1), NEVER)
    later = 101.0 + FRESH * 5
    look(held, later, good=True)  # it is asked for its keys all the time
    assert not held.proves("com.", HERE, later, NEVER)
    held.miss("com.", HERE, later + 1)  # the next rollover
    assert not held.proves("com.", HERE, later + 1, NEVER)
    assert held.wanted("com.", HERE[0], later + 1)
    look(held, later + 2, good=True)
    assert held.proves("com.", HERE, later + 2, NEVER)


def test_a_set_that_nobody_trusts_proves_nothing_before_the_parent_has_spoken() -> None:
    """.nz in 2023: it may be the DS set that is old."""
    held = ServerKeys()
    held.miss("com.", HERE, 100.0)
    assert held.is_undecided("com.", 101.0, 99.0)
    assert not held.is_undecided("com.", 101.0, 100.0)
    look(held, 101.0, good=False)
    assert not held.proves("com.", HERE, 102.0, 99.0)
    assert held.proves("com.", HERE, 102.0, 100.0)
    held.reconsider("com.")  # the DS set is another now
    assert not held.proves("com.", HERE, 102.0, 100.0)
    assert not held.is_undecided("com.", 102.0, NEVER)


def test_one_word_of_the_parent_is_enough_for_servers_that_change_one_after_the_other() -> None:
    held = ServerKeys()
    for server, missed in ((HERE, 100.0), (OTHER, 130.0)):
        held.miss("com.", server, missed)
        held.take("com.", server, keys=KEYS_OF_COM, good=False, now=missed + 1, wall=NOW)
    assert held.proves("com.", OTHER, 131.0, 101.0)
    late = ("192.0.2.3", LOCAL)  # so long after that the zone may have been delegated anew
    held.miss("com.", late, 102.0 + PARENT)
    held.take("com.", late, keys=KEYS_OF_COM, good=False, now=103.0 + PARENT, wall=NOW)
    assert not held.proves("com.", late, 103.0 + PARENT, 101.0)
    assert held.is_undecided("com.", 103.0 + PARENT, 101.0)
    assert held.proves("com.", late, 104.0 + PARENT, 104.0 + PARENT)


def test_where_the_parent_cannot_be_asked_the_odd_one_out_is_bad_in_the_end() -> None:
    """All servers get a change within minutes: where one alone has other keys, it is none."""
    held = ServerKeys()
    for server in (HERE, OTHER):
        held.miss("com.", server, 100.0)
        held.take("com.", server, keys=KEYS_OF_COM, good=False, now=101.0, wall=NOW)
    for now in (101.0 + LASTS / 2, 101.0 + LASTS):
        held.miss("com.", HERE, now)
        look(held, now, good=False)
        assert not held.proves("com.", HERE, now, NEVER)  # so far all of them are alike
    held.take("com.", OTHER, keys=KEYS_OF_COM, good=True, now=102.0 + LASTS, wall=NOW)
    assert held.proves("com.", HERE, 102.0 + LASTS, NEVER)


def test_a_server_that_shows_no_set_is_not_waited_for_for_ever() -> None:
    held = ServerKeys()
    held.miss("com.", HERE, 100.0)
    assert not held.proves("com.", HERE, 99.9 + PATIENCE, 100.0)
    assert held.proves("com.", HERE, 100.0 + PATIENCE, 100.0)
    assert not held.proves("com.", HERE, 100.0 + PATIENCE, 99.0)


def test_whatever_is_missed_asks_for_keys_once_in_ten_seconds() -> None:
    held, asked = ServerKeys(), 0
    for tenth in range(1000):
        now = 100.0 + tenth / 10
        held.miss("com.", HERE, now)
        if held.wanted("com.", HERE[0], now):
            held.asked("com.", HERE[0], now)
            asked += 1
    assert asked == PATIENCE / AGAIN  # after that it is judged without
    assert not held.wanted("com.", OTHER[0], 100.0)


# --- The store ------------------------------------------------------------------------------


def store_of(zone: SignedZone, now: list[float]) -> KeyStore:
    return KeyStore(
        [zone.text],
        anchors.parse(zone.anchor_text, source="test"),
        [],
        signatures=Signatures(),
        wall=lambda: NOW + now[0],
        monotonic=lambda: now[0],
    )


def test_servers_that_show_two_good_sets_are_each_right_and_told_of_when_that_lasts() -> None:
    one, other, now = SignedZone("com."), SignedZone("com."), [0.0]
    other.ksk, other.dates = one.ksk, lambda *_: (NOW - 10, NOW + DAY)
    store = store_of(one, now)
    for turn in range(int(FRESH / 60) + 1):
        now[0] = 60.0 * turn
        assert store.offer("com.", *shown(one), HERE)
        assert store.offer("com.", *shown(other), OTHER)
        keys = store.keys_for("com.")
        assert keys is not None
        assert {one.zsk.dnskey, other.zsk.dnskey} < set(keys.rdataset) or turn == 0
    text = keys_problem(store)
    zsk, ksk = sorted((f"{one.zsk.tag} (ZSK, algorithm 13)", f"{one.ksk.tag} (KSK, algorithm 13)"))
    assert f"{zsk}, {ksk}, signed by a key that is trusted, at 192.0.2.1 over local, since" in text
    assert "192.0.2.2" not in text  # its set is the newer one
    assert text.endswith(f"since 2023-11-14T22:13:20Z. To do: {KEYS[Lack.SERVERS]}")
    now[0] += FRESH + 1  # nobody shows the older one any longer
    assert store.offer("com.", *shown(other), OTHER)
    assert keys_problem(store) == ""
    keys = store.keys_for("com.")
    assert keys is not None
    assert set(keys.rdataset) == {other.ksk.dnskey, other.zsk.dnskey}


def test_a_server_with_keys_that_nobody_trusts_is_named_within_a_minute() -> None:
    one, other, now = SignedZone("com."), SignedZone("com."), [0.0]
    store = store_of(one, now)
    assert store.offer("com.", *shown(one), HERE)
    for n in range(5):
        assert not store.offer("com.", *shown(other), (f"192.0.2.{10 + n}", "fra"))
    assert store.wrong() == ()
    now[0] = LASTS
    (wrong,) = store.wrong()
    assert wrong.lack is Lack.SERVERS
    assert wrong.since == NOW
    assert wrong.because.endswith(
        "signed by no key that is trusted, at "
        "192.0.2.10 over fra, 192.0.2.11 over fra, 192.0.2.12 over fra and 2 more"
    )
    assert set(store.keys_for("com.").rdataset) == set(one.dnskey())  # type: ignore[union-attr]


def test_what_is_doubted_of_many_zones_is_not_made_anew_for_each_set_that_is_taken_up() -> None:
    one, other, now = SignedZone("com."), SignedZone("net."), [0.0]
    store = KeyStore(
        ["com.", "net."],
        anchors.parse(one.anchor_text + other.anchor_text, source="test"),
        [],
        signatures=Signatures(),
        wall=lambda: NOW + now[0],
        monotonic=lambda: now[0],
    )
    assert store.offer("com.", *shown(one))
    assert store.offer("net.", *shown(other))
    before = store.trust_for(["com.", "net."], HERE).secure
    now[0] += 61.0
    assert store.offer("net.", *shown(other))
    after = store.trust_for(["com.", "net."], HERE).secure
    assert after["net."] is not before["net."]
    assert after["com."] is before["com."]


@pytest.mark.parametrize("rolled", [True, False], ids=["a rollover", "a stranger's keys"])
def test_the_parent_itself_is_asked_where_a_cache_may_be_behind(rolled: bool) -> None:
    world, before, stranger = Parent(), SignedZone("com."), SignedZone("com.")
    world.com = before
    world.old = (before.ksk.ds(before.name),)
    world.root.children = {**world.root.children, "com": world.old}

    async def run() -> None:
        async with serving(Server("127.0.0.1", world.respond)) as port:
            store = world.store(port)
            await store.refresh("com.")
            assert store.troubles == {}
            world.com = stranger
            if rolled:
                new = (stranger.ksk.ds(stranger.name),)
                world.root.children = {**world.root.children, "com": new}
            world.monotonic += 20
            assert not store.offer("com.", *shown(stranger), HERE)
            store.miss("com.", HERE)
            assert not store.offer("com.", *shown(stranger), HERE)
            doubting = store.trust_for(["com."], HERE)
            assert doubting is not store.trust
            assert store.trust_for(["com."], HERE) is doubting  # the same object, for `twin`
            await store.refresh("com.")
            assert ("com.", "DS", False) in world.questions
            assert store.offer("com.", *shown(stranger), HERE) is rolled
            # Its keys are good now, or what it signs by them is bad.
            assert (store.trust_for(["com."], HERE) is store.trust) is not rolled
            keys = store.keys_for("com.")
            assert keys is not None
            assert (stranger.zsk.dnskey in keys.rdataset) is rolled
            # The resolver's older DS set takes nothing back.
            world.monotonic += 10
            await store.refresh("com.")
            assert store.offer("com.", *shown(stranger), HERE) is rolled

    asyncio.run(run())


@pytest.mark.long
def test_a_stranger_makes_us_ask_the_parent_once_a_minute_and_resolvers_six_times() -> None:
    world, strangers = Parent(), [shown(SignedZone("com.")) for _ in range(20)]

    async def run() -> None:
        async with serving(Server("127.0.0.1", world.respond)) as port:
            store = world.store(port)
            await store.refresh("com.")
            begin = world.monotonic
            while world.monotonic < begin + 600:
                world.monotonic += 1
                for n in range(20):  # of many addresses, each with keys of its own
                    server = (f"192.0.2.{n}", LOCAL)
                    assert not store.offer("com.", *strangers[n], server)
                    store.miss("com.", server)
                if store.wake_at <= world.monotonic:
                    await store.refresh("com.")

    asyncio.run(run())
    direct = sum(1 for _, rdtype, recursive in world.questions if rdtype == "DS" and not recursive)
    asked = sum(1 for _, rdtype, recursive in world.questions if rdtype == "DS" and recursive)
    assert 1 <= direct <= 11
    assert direct + asked <= 61


# --- The prober -----------------------------------------------------------------------------


def test_unknown_keys_are_not_judged_at_first_and_ask_for_the_set_out_of_turn_once() -> None:
    rogue = Key()

    def respond(wire: bytes, _tcp: bool) -> Iterable[bytes]:
        query = dns.message.from_wire(wire)
        if query.question[0].rdtype == dns.rdatatype.DNSKEY:
            yield COM.respond(wire)
            return
        zone = SignedZone("com.", ksk=COM.ksk, zsk=rogue)
        yield zone.respond(wire)

    server, asked = Server("127.0.0.1", respond), list[bool]()

    async def run() -> None:
        async with serving(server) as port, probing("127.0.0.1", port=port) as watching:
            wants = watching.keys.needs_keys_from

            def counted(zone: str, address: str) -> bool:
                asked.append(wants(zone, address))
                return asked[-1]

            watching.keys.needs_keys_from = counted  # type: ignore[method-assign]
            await async_until(lambda: len(watching.rounds) >= 40)
            bad = [one for one in watching.observations if one.outcome is Outcome.NO_KEY]
            assert not bad[0].judged
            assert bad[-1].judged
            first = next(n for n, one in enumerate(bad) if one.judged)
            assert first <= 3, "the set was not asked for out of turn"
            assert all(one.judged for one in bad[first:])
            assert "is not in the zone's key set: " in (bad[-1].detail)

    asyncio.run(run())
    assert sum(asked) == 1, "however many answers there were"
