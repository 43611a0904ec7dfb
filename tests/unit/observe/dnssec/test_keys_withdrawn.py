"""Keys that are taken back: how long they are believed, and what nobody can draw out."""

from __future__ import annotations

import asyncio

from scripted import Server, serving
from signedzone import DAY, NOW, SignedZone
from worlds import HERE, OTHER, Parent, World, shown

from steering.model import Outcome
from steering.observe.dnssec import anchors
from steering.observe.dnssec.keys.key_sets import BESIDE
from steering.observe.dnssec.keys.key_store import LONGEST, KeyStore
from steering.observe.dnssec.signatures import FRESH, Signatures

MINUTE = 60.0


def store_of(anchor: str, now: list[float], *, wall: list[float] | None = None) -> KeyStore:
    return KeyStore(
        ["com."],
        anchors.parse(anchor, source="test"),
        [],
        signatures=Signatures(),
        wall=lambda: NOW + now[0] if wall is None else wall[0],
        monotonic=lambda: now[0],
    )


def judged(store: KeyStore, zone: SignedZone, wall: float) -> tuple[Outcome, bool]:
    """What an answer that HERE signs as `zone` amounts to."""
    message = zone.ask("www.com.", "A")
    rrset = next(held for held in message.answer if not held.covers)
    rrsigs = [rrsig for held in message.answer if held.covers for rrsig in held]
    keys = store.trust_for(["com."], HERE).secure["com."]
    finding = Signatures().examine(rrset, rrsigs, keys, wall=wall, skew=0.0)
    if finding.outcome is Outcome.NO_KEY:
        store.miss("com.", HERE)
    return finding.outcome, finding.judged


def test_an_instance_that_stays_with_a_removed_key_is_bad_after_an_hour() -> None:
    """Resolvers that have the zone's set of now find what it signs bogus. For a while it may be
    late, as may their copies be; but its signature over its old set may be good for weeks.
    """
    old, new, now = SignedZone("com."), SignedZone("com."), [0.0]
    new.ksk, new.dates = old.ksk, lambda *_: (NOW - 10, NOW + DAY)
    store = store_of(old.anchor_text, now)
    seen = dict[float, tuple[Outcome, bool]]()
    while now[0] < BESIDE + FRESH:
        assert store.offer("com.", *shown(new), OTHER)
        assert store.offer("com.", *shown(old), HERE)
        seen[now[0]] = judged(store, old, NOW + now[0])
        assert judged(store, new, NOW + now[0]) == (Outcome.SECURE, True)
        now[0] += MINUTE
    assert all(seen[at] == (Outcome.SECURE, True) for at in seen if at < BESIDE)
    assert seen[max(seen)] == (Outcome.NO_KEY, True)


def test_signers_with_keys_of_their_own_are_good_for_as_long_as_the_parent_names_both() -> None:
    """RFC 8901, model 2: each has the others' zone keys in its set, and its own key signs that."""
    one, other, now = SignedZone("com."), SignedZone("com."), [0.0]
    one.extra_keys, other.extra_keys = (other.zsk,), (one.zsk,)
    other.dates = lambda *_: (NOW - 10, NOW + DAY)
    store = store_of(one.anchor_text + other.anchor_text, now)
    while now[0] < BESIDE + FRESH:
        for zone, server in ((one, HERE), (other, OTHER)):
            assert store.offer("com.", *shown(zone), server)
        now[0] += MINUTE
    keys = store.keys_for("com.")
    assert keys is not None
    for zone in (one, other):
        rrset, rrsigs = shown(zone)
        finding = Signatures().examine(rrset, rrsigs, keys, wall=NOW + now[0], skew=0.0)
        assert finding.outcome is Outcome.SECURE
        assert judged(store, zone, NOW + now[0]) == (Outcome.SECURE, True)


def test_sets_of_long_ago_that_are_played_back_drive_none_out_that_others_show() -> None:
    """Else whoever can play back two would make a server that is merely late look bad."""
    zones, now = [SignedZone("com.") for _ in range(4)], [0.0]
    for age, zone in enumerate(zones):
        zone.ksk = zones[0].ksk
        zone.dates = lambda *_, age=age: (NOW - 10 * age, NOW + DAY)
    newest, late, *ancient = zones
    store = store_of(newest.anchor_text, now)
    assert store.offer("com.", *shown(newest), OTHER)
    for _ in range(20):
        assert store.offer("com.", *shown(late), HERE)
        for n, zone in enumerate(ancient):
            assert store.offer("com.", *shown(zone), (f"192.0.2.{10 + n}", "fra"))
        assert judged(store, late, NOW + now[0]) == (Outcome.SECURE, True)
        now[0] += MINUTE


def test_a_set_whose_ds_is_withdrawn_gives_way_though_its_signature_is_the_newer_one() -> None:
    """A zone goes to another operator, who signed its set before the old one did so again."""
    world, old, new = Parent(), SignedZone("com."), SignedZone("com.")
    old.dates, new.dates = lambda *_: (NOW - 10, NOW + DAY), lambda *_: (NOW - 99, NOW + DAY)
    world.com = old
    world.root.children = {**world.root.children, "com": (old.ksk.ds(old.name),)}
    world.old = world.root.children["com"]

    async def run() -> None:
        async with serving(Server("127.0.0.1", world.respond)) as port:
            store = world.store(port)
            await store.refresh("com.")
            world.com = new
            world.old = (new.ksk.ds(new.name),)
            world.root.children = {**world.root.children, "com": world.old}
            world.monotonic += MINUTE
            await store.refresh("com.")
            assert store.offer("com.", *shown(new), OTHER)
            assert not store.offer("com.", *shown(old), HERE)
            assert new.zsk.dnskey in store.trust.secure["com."].rdataset
            world.monotonic += FRESH + 1
            world.wall += FRESH + 1
            assert store.offer("com.", *shown(new), OTHER)
            keys = store.keys_for("com.")
            assert keys is not None
            assert set(keys.rdataset) == {new.ksk.dnskey, new.zsk.dnskey}
            assert keys.checked == world.wall, "or else no key's absence proves anything"

    asyncio.run(run())


def test_a_clock_that_is_set_back_leaves_no_set_unseen() -> None:
    zone, wall = SignedZone("com."), [float(NOW + DAY / 2)]
    store = store_of(zone.anchor_text, [0.0], wall=wall)
    assert store.offer("com.", *shown(zone), HERE)
    wall[0] = float(NOW)
    assert store.offer("com.", *shown(zone), HERE)
    keys = store.keys_for("com.")
    assert keys is not None
    assert keys.checked == wall[0]


def test_the_parent_is_heard_again_while_servers_show_a_set_all_the_time() -> None:
    """Its set may be signed by a key that the parent has withdrawn since."""

    async def story(store: KeyStore, world: World) -> None:
        await store.refresh("com.")
        begun = world.monotonic
        while world.monotonic < begun + LONGEST:
            world.monotonic += MINUTE
            world.wall += MINUTE
            assert store.offer("com.", *shown(world.com), HERE)
        assert store.wake_at <= world.monotonic + MINUTE

    World().play(story)


def test_the_parent_is_asked_again_while_a_server_is_bad_by_its_word() -> None:
    """All servers change their keys, the parent was asked just then, and only after that does it
    name them. The caches' DS and DNSKEY sets, which fit each other, may be a day old.
    """
    world, before, after = Parent(), SignedZone("com."), SignedZone("com.")
    world.com, world.old = before, (before.ksk.ds(before.name),)
    world.root.children = {**world.root.children, "com": world.old}

    async def run() -> None:
        async with serving(Server("127.0.0.1", world.respond)) as port:
            store = world.store(port)
            await store.refresh("com.")
            begun = world.monotonic = world.monotonic + MINUTE
            good = list[float]()
            while world.monotonic < begun + 4 * MINUTE:
                if world.monotonic == begun + 30:
                    named = (after.ksk.ds(after.name),)
                    world.root.children = {**world.root.children, "com": named}
                for server in (HERE, OTHER):
                    if store.offer("com.", *shown(after), server):
                        good.append(world.monotonic - begun)
                    else:
                        store.miss("com.", server)
                if store.wake_at <= world.monotonic:
                    await store.refresh("com.")
                world.monotonic += 1
            assert good, "it is held against the servers for as long as the caches keep it"
            assert good[0] < 2 * MINUTE

    asyncio.run(run())
    assert sum(rdtype == "DS" and not rd for _, rdtype, rd in world.questions) <= 5


def test_a_zone_that_goes_back_to_its_set_of_before_is_judged_by_that() -> None:
    """Out of a backup, so with the signature of then: nobody shows the newer one any more."""
    old, new, now = SignedZone("com."), SignedZone("com."), [0.0]
    new.ksk, new.dates = old.ksk, lambda *_: (NOW - 10, NOW + DAY)
    store, stranger = store_of(old.anchor_text, now), SignedZone("com.")
    assert store.offer("com.", *shown(new), HERE)
    while now[0] < BESIDE + 2 * FRESH:
        now[0] += MINUTE
        assert store.offer("com.", *shown(old), HERE)
        assert judged(store, old, NOW + now[0]) == (Outcome.SECURE, True)
    judged(store, stranger, NOW + now[0])
    now[0] += 1.0
    assert store.offer("com.", *shown(old), HERE)
    assert judged(store, stranger, NOW + now[0]) == (Outcome.NO_KEY, True)
