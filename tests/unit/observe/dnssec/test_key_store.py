"""Key sets: the chain from an anchor, what is taken up, kept, and proven not to exist."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from signedzone import DAY, NOW, Key, SignedZone
from worlds import World, shown

from steering.lab.waiting import async_until
from steering.observe.dnssec import anchors
from steering.observe.dnssec.keys.chain import system_resolvers
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import FRESH, Signatures
from steering.observe.dnssec.trust import DS


@pytest.mark.parametrize("nsec3", [True, False], ids=["NSEC3", "NSEC"])
def test_keys_are_chained_from_the_root_down_with_tcp_where_needed(nsec3: bool) -> None:
    async def story(store: KeyStore, world: World) -> None:
        for zone in ("com.", "net.", "."):
            await store.refresh(zone)
        assert store.troubles == {}
        for signed in (world.com, world.net, world.root):
            keys = store.keys_for(signed.text)
            assert keys is not None
            assert set(keys.rdataset) == {signed.ksk.dnskey, signed.zsk.dnskey}
            assert not store.is_insecure(signed.text)

    server = World(nsec3=nsec3).play(story, zones=("com.", "net.", "."))
    assert any(tcp for _, tcp in server.asked)
    assert all(wire[2:4] == b"\x01\x10" for wire, _ in server.asked)  # RD and CD


@pytest.mark.parametrize(("nsec3", "opt_out"), [(True, True), (True, False), (False, False)])
def test_a_delegation_proven_to_have_no_ds_is_insecure(nsec3: bool, opt_out: bool) -> None:
    async def story(store: KeyStore, world: World) -> None:
        await store.refresh("com.")
        assert store.is_insecure("com.")
        assert store.keys_for("com.") is None
        assert store.troubles == {}

    World(ds=False, nsec3=nsec3, opt_out=opt_out).play(story)


def test_a_ds_that_is_merely_missing_proves_nothing() -> None:
    def strip(message: dns.message.Message) -> None:
        if message.question[0].rdtype == dns.rdatatype.DS:
            message.answer, message.authority = [], message.authority[:0]

    async def story(store: KeyStore, world: World) -> None:
        world.twist = strip
        await store.refresh("com.")
        assert not store.is_insecure("com.")
        assert store.keys_for("com.") is None
        assert "proof" in store.troubles["com."]

    World().play(story)


def test_a_denial_with_a_bad_signature_proves_nothing() -> None:
    async def story(store: KeyStore, world: World) -> None:
        world.root.dates = lambda _, t: (NOW - DAY, NOW + DAY * (-1 if "NSEC" in t else 1))
        await store.refresh("com.")
        assert not store.is_insecure("com.")
        assert "expired" in store.troubles["com."]

    World(ds=False).play(story)


def test_a_bad_record_beside_a_good_denial_does_not_matter() -> None:
    def spoil(message: dns.message.Message) -> None:
        if message.question[0].rdtype == dns.rdatatype.DS:
            stray = dns.rrset.from_text("stray.", 900, "IN", "NSEC", "zzz. NS RRSIG NSEC")
            rrsig = world.root.zsk.sign(stray, world.root.name, (NOW - 2 * DAY, NOW - DAY))
            message.authority[:0] = [stray, dns.rrset.from_rdata("stray.", 900, rrsig)]

    async def story(store: KeyStore, world: World) -> None:
        world.twist = spoil
        await store.refresh("com.")
        assert store.is_insecure("com.")

    world = World(ds=False, nsec3=False)
    world.play(story)


def test_a_denial_made_from_a_wildcard_makes_no_zone_insecure() -> None:
    """CVE-2017-15105: anybody could have it made for the name of a cut."""

    def forge(message: dns.message.Message) -> None:
        if message.question[0].rdtype == dns.rdatatype.DS:
            root = world.root
            message.answer, message.authority = [], []
            nsec = dns.rrset.from_text("*.", 900, "IN", "NSEC", "net. NS RRSIG NSEC")
            rrsig = root.zsk.sign(nsec, root.name, (NOW - DAY, NOW + DAY))
            for rdata, kind in ((nsec[0], "NSEC"), (rrsig, "RRSIG")):
                assert dns.rdatatype.to_text(rdata.rdtype) == kind
                message.authority.append(dns.rrset.from_rdata("com.", 900, rdata))

    async def story(store: KeyStore, world: World) -> None:
        world.twist = forge
        await store.refresh("com.")
        assert not store.is_insecure("com.")
        assert store.troubles["com."] == "com.: neither DS nor a proof that there is none"

    world = World(nsec3=False)
    world.play(story)


@pytest.mark.parametrize("digest", [1, 200], ids=["algorithm", "digest"])
def test_a_zone_whose_anchor_nobody_can_use_counts_as_insecure(digest: int) -> None:
    async def story(store: KeyStore, world: World) -> None:
        await store.refresh("com.")
        assert store.is_insecure("com.")
        assert store.troubles == {}

    ds = SignedZone(".").ksk.ds(dns.name.root)
    algorithm = 13 if digest == 200 else 3
    World().play(story, anchor=f". IN DS 1 {algorithm} {digest} {ds.digest.hex()[:40]}\n")


@pytest.mark.parametrize("by", ["zone", "wildcard", "proved", "nobody"])
def test_an_alias_between_the_zones_is_no_cut(by: str) -> None:
    """sub.com. is com.'s alias for something else, and a.sub.com. a zone of its own."""
    world = World()
    below = SignedZone("a.sub.com.")

    def respond(wire: bytes, tcp: bool) -> Iterable[bytes]:
        query = dns.message.from_wire(wire)
        asked, rdtype = query.question[0].name.to_text().lower(), query.question[0].rdtype
        if asked == "a.sub.com." and rdtype == dns.rdatatype.DNSKEY:
            yield below.respond(wire)
            return
        com, answer = world.com, world.com.answer(query)
        if rdtype == dns.rdatatype.DS and asked == "a.sub.com.":
            held = [dns.rrset.from_rdata(asked, 300, below.ksk.ds(below.name))]
        elif rdtype == dns.rdatatype.DS and asked == "sub.com.":
            held = [dns.rrset.from_text(asked, 300, "IN", "CNAME", "www.elsewhere.")]
        else:
            yield from usual(wire, tcp)
            return
        answer.set_rcode(dns.rcode.NOERROR)
        answer.answer, answer.authority = [], []
        for rrset in held:
            answer.answer.append(rrset)
            if by == "nobody" and rrset.rdtype == dns.rdatatype.CNAME:
                continue
            wild = by in {"wildcard", "proved"} and rrset.rdtype == dns.rdatatype.CNAME
            owner = dns.name.from_text("*.com.") if wild else rrset.name
            source = dns.rrset.from_rdata_list(owner, rrset.ttl, list(rrset))
            rrsig = com.zsk.sign(source, com.name, (NOW - DAY, NOW + DAY))
            answer.answer.append(dns.rrset.from_rdata(rrset.name, rrset.ttl, rrsig))
        if by == "proved":
            com._put(answer.authority, com.cover(com.child("sub")))
        yield answer.to_wire(max_size=65535)

    async def story(store: KeyStore, world: World) -> None:
        await store.refresh("a.sub.com.")
        assert (store.keys_for("a.sub.com.") is not None) is (by in {"zone", "proved"})
        assert ("a.sub.com." in store.troubles) is (by not in {"zone", "proved"})

    usual = world.respond
    world.respond = respond  # type: ignore[method-assign]
    world.play(story, zones=("a.sub.com.",))


def test_a_key_set_signed_by_a_key_no_ds_names_is_refused() -> None:
    async def story(store: KeyStore, world: World) -> None:
        world.com.ksk = Key(257)
        await store.refresh("com.")
        assert store.keys_for("com.") is None
        assert "not signed by a key that is trusted" in store.troubles["com."]

    World().play(story)


def test_a_zone_with_only_unknown_algorithms_counts_as_insecure() -> None:
    async def story(store: KeyStore, world: World) -> None:
        await store.refresh("com.")
        assert store.is_insecure("com.")

    world = World()
    unknown = cast("DS", world.root.children["com"][0].replace(algorithm=200))
    world.root.children = {"com": (unknown,)}
    world.play(story)


def test_a_failed_refresh_keeps_the_old_set_and_backs_off() -> None:
    async def story(store: KeyStore, world: World) -> None:
        await store.refresh("com.")
        before = store.keys_for("com.")
        world.dead, patience = True, store._resolvers._timeout
        store._resolvers._timeout = 0.01  # as good as any for an answer that does not come
        pauses = []
        for _ in range(12):
            world.monotonic = store.wake_at
            await store.refresh("com.")
            pauses.append(store.wake_at - world.monotonic)
        assert store.keys_for("com.") is before is not None
        assert pauses[0] == 1
        assert pauses == sorted(pauses)
        assert pauses[-1] == 300
        assert "no answer" in store.troubles["com."]
        world.dead, store._resolvers._timeout = False, patience
        await store.refresh("com.")
        assert store.troubles == {}

    World().play(story)


def test_sets_are_looked_at_again_before_they_run_out() -> None:
    async def story(store: KeyStore, world: World) -> None:
        await store.refresh("com.")
        assert store.wake_at - world.monotonic == pytest.approx(600)  # the TTL
        world.com.dnskey_ttl = 7 * DAY
        await store.refresh("com.")
        assert store.wake_at - world.monotonic == pytest.approx(3600)
        world.com.dates = lambda *_: (NOW, NOW + 300)
        await store.refresh("com.")
        assert store.wake_at - world.monotonic == pytest.approx(150)  # half the signature's life

    world = World()
    world.com.dnskey_ttl = 600
    world.play(story)


def test_run_refreshes_by_itself_and_when_a_key_is_missed() -> None:
    async def story(store: KeyStore, world: World) -> None:
        task = asyncio.create_task(store.run())
        try:
            await async_until(lambda: store.keys_for("com."))
            old = store.keys_for("com.")
            world.com.zsk = Key()
            world.com.dates = lambda *_: (NOW, NOW + DAY)
            world.monotonic += 11
            store.miss("com.")
            await async_until(lambda: store.keys_for("com.") is not old)
            keys = store.keys_for("com.")
            assert keys is not None
            assert world.com.zsk.dnskey in keys.rdataset
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    World().play(story)


def test_missed_keys_ask_the_resolver_at_most_every_ten_seconds() -> None:
    async def story(store: KeyStore, world: World) -> None:
        await store.refresh("com.")
        for _ in range(100):
            store.miss("com.")
        assert store.wake_at - world.monotonic == pytest.approx(10)

    World().play(story)


def test_an_anchor_at_the_zone_needs_no_resolver_but_our_own_probes() -> None:
    com = SignedZone("com.")
    held = anchors.parse(com.anchor_text, source="test")
    store = KeyStore(["com."], held, [], signatures=Signatures(), wall=lambda: NOW)
    assert store.lacks_keys("com.")
    assert store.offer("com.", *shown(com))
    assert not store.lacks_keys("com.")
    assert store.keys_for("com.") is not None


def test_offers_are_taken_up_only_if_verified_and_the_newest_leads() -> None:
    """An older set that somebody shows is believed beside the newest for a while, no longer."""
    com, other = SignedZone("com."), SignedZone("com.")
    held = anchors.parse(com.anchor_text, source="test")
    wall = [float(NOW)]
    store = KeyStore(["com."], held, [], signatures=Signatures(), wall=lambda: wall[0])
    assert not store.offer("com.", *shown(other))
    com.dates = lambda *_: (NOW - DAY, NOW - 1)
    assert not store.offer("com.", *shown(com))
    assert store.keys_for("com.") is None

    com.dates = lambda *_: (NOW - 100, NOW + DAY)
    newer = shown(com)
    com.dates, com.zsk = lambda *_: (NOW - 200, NOW + DAY), Key()
    older = shown(com)
    assert store.offer("com.", *newer)
    first = store.keys_for("com.")
    assert first is not None
    assert store.offer("com.", *older)
    both = store.keys_for("com.")
    assert both is not None
    assert both.inception == first.inception
    assert set(both.rdataset) == set(newer[0]) | set(older[0])
    wall[0] += FRESH + 1
    assert store.offer("com.", *newer)
    now = store.keys_for("com.")
    assert now is not None
    assert set(now.rdataset) == set(newer[0])
    com.dates = lambda *_: (NOW - 50, NOW + DAY)
    assert store.offer("com.", *shown(com))
    keys = store.keys_for("com.")
    assert keys is not None
    assert com.zsk.dnskey in keys.rdataset
    assert not store.offer("net.", *shown(com))


def test_a_set_chained_by_ds_takes_offers_as_well() -> None:
    async def story(store: KeyStore, world: World) -> None:
        await store.refresh("com.")
        world.com.zsk = Key()
        world.com.dates = lambda *_: (NOW, NOW + DAY)
        assert store.offer("com.", *shown(world.com))
        keys = store.keys_for("com.")
        assert keys is not None
        assert world.com.zsk.dnskey in keys.rdataset

    World().play(story)


def test_lying_resolvers_are_passed_over() -> None:
    def lie(message: dns.message.Message) -> None:
        message.set_rcode(dns.rcode.SERVFAIL)

    async def story(store: KeyStore, world: World) -> None:
        world.twist = lie
        await store.refresh("com.")
        assert store.troubles == {"com.": ". DNSKEY: SERVFAIL (127.0.0.1)"}

    World().play(story)


def test_a_zone_under_no_anchor_is_said_to_be_so_and_never_asked() -> None:
    held = anchors.parse(SignedZone("com.").anchor_text, source="test")
    store = KeyStore(["org."], held, ["127.0.0.1"], signatures=Signatures())
    assert store.troubles == {"org.": "no trust anchor encloses the zone"}
    assert store.wake_at == float("inf")


def test_the_hosts_resolvers_are_read(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("# x\nnameserver 192.0.2.1\nnameserver\nsearch a\nnameserver 2001:db8::1\n")
    assert system_resolvers(conf) == ("192.0.2.1", "2001:db8::1")
    assert system_resolvers(tmp_path / "none") == ()


@pytest.mark.parametrize("same", [True, False])
def test_what_another_store_knows_by_the_same_anchors_is_known_at_once(same: bool) -> None:
    async def story(store: KeyStore, world: World) -> None:
        await store.refresh("com.")
        text = world.root.anchor_text if same else SignedZone(".").anchor_text
        heir = KeyStore(
            ("com.", "net."),
            anchors.parse(text, source="test"),
            ["127.0.0.1"],
            signatures=Signatures(),
            known=store,
            monotonic=lambda: world.monotonic,
        )
        assert (heir.keys_for("com.") is store.keys_for("com.") is not None) is same
        assert heir.keys_for("net.") is None
        assert heir.wake_at == world.monotonic, "what is new is looked at now"
        again = KeyStore(("com.",), {}, [], signatures=Signatures(), known=heir)
        assert again.keys_for("com.") is None, "nothing is believed from anchors that are gone"

    World().play(story)


def test_a_store_that_had_no_resolver_leaves_none_without_one() -> None:
    async def story(store: KeyStore, world: World) -> None:
        held = anchors.parse(world.root.anchor_text, source="test")
        mute = KeyStore(("com.",), held, [], signatures=Signatures())
        assert mute.troubles
        heir = KeyStore(
            ("com.",),
            held,
            ["127.0.0.1"],
            signatures=Signatures(),
            known=mute,
            monotonic=lambda: world.monotonic,
        )
        assert heir.wake_at == world.monotonic
        assert not heir.troubles

    World().play(story)
