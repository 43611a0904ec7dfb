"""Key sets as they are in the midst of a rollover, and as nobody honest has them."""

from __future__ import annotations

import dns.dnssec
import dns.rdataset
import dns.rrset
import pytest
from responses import DNSKEY as ASKED_KEYS
from responses import SOA, read
from signedzone import DAY, NOW, RRSIG, Key, SignedZone, twin
from worlds import World, shown

from steering.model import Outcome
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.response import MOST_FAILED
from steering.observe.dnssec.signatures import MOST_TRIED, Signatures
from steering.observe.dnssec.trust import DNSKEY, Keys, Trust

ZONE = SignedZone("com.")
MORE = {
    "standby": (Key(257), Key(257), Key()),
    "equal tags": (twin(ZONE.zsk), twin(ZONE.ksk)),
    "revoked": (Key(257 | 0x80),),
}


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
def test_keys_beside_those_that_sign_do_no_harm(more: tuple[Key, ...]) -> None:
    """Standby keys (RFC 6781 4.3), equal tags (.ru 2024), revoked ones (RFC 5011 2.1)."""

    async def story(store: KeyStore, world: World) -> None:
        world.com.extra_keys = more
        await store.refresh("com.")
        assert store.troubles == {}
        keys = store.keys_for("com.")
        assert keys is not None
        assert len(keys.rdataset) == 2 + len(world.com.extra_keys)
        for asked in (SOA, ASKED_KEYS):
            message = world.com.ask(asked.name, asked.rdtype)
            assert read(message, asked, None, trust=store.trust).outcome is Outcome.SECURE

    world = World()
    world.com.ksk, world.com.zsk = ZONE.ksk, ZONE.zsk
    world.root.children = {"com": (ZONE.ksk.ds(ZONE.name),)}
    world.play(story)


def test_a_set_signed_by_old_and_new_key_is_taken_by_either_ds() -> None:
    """A double-signature rollover of the KSK (RFC 6781 4.1.2): the DS may be the old or the new."""
    zone, new = SignedZone("com."), Key(257)
    zone.extra_keys = (new,)
    rrset, rrsigs = shown(zone)
    both = [*rrsigs, new.sign(rrset, zone.name, (NOW - DAY, NOW + DAY))]

    async def story(store: KeyStore, _: World) -> None:
        assert store.offer("com.", rrset, both)

    for key in (zone.ksk, new):
        World().play(story, anchor=f"com. IN DS {key.ds(zone.name)}\n")


@pytest.mark.parametrize("beside", [True, False], ids=["beside SHA-256", "alone"])
def test_a_sha_1_digest_counts_only_alone(beside: bool) -> None:
    """RFC 4509 3: whoever can make SHA-1 collide gains nothing by it."""
    zone = SignedZone("com.")
    sha1 = dns.dnssec.make_ds(zone.name, zone.ksk.dnskey, "SHA1", validating=True)
    lines = [f"com. IN DS {sha1}\n"]
    if beside:
        lines.append(f"com. IN DS {Key(257).ds(zone.name)}\n")

    async def story(store: KeyStore, world: World) -> None:
        world.com = zone
        assert store.offer("com.", *shown(zone)) is not beside
        await store.refresh("com.")
        assert (store.keys_for("com.") is None) is beside

    World().play(story, anchor="".join(lines))


def test_an_old_ds_in_a_resolver_s_cache_takes_no_keys_away() -> None:
    """.nz in 2023: the zone signs by the new key alone, the DS of before is still handed out."""

    async def story(store: KeyStore, world: World) -> None:
        await store.refresh("com.")
        before = store.keys_for("com.")
        world.com.ksk = Key(257)
        world.com.cache.clear()
        world.monotonic += 4000
        await store.refresh("com.")
        assert store.keys_for("com.") is before
        assert "not signed by a key that is trusted" in store.troubles["com."]
        world.root.children = {"com": (world.com.ksk.ds(world.com.name),)}
        world.monotonic += 4000
        await store.refresh("com.")
        keys = store.keys_for("com.")
        assert keys is not None
        assert world.com.ksk.dnskey in keys.rdataset
        assert store.troubles == {}

    World().play(story)


# --- KeyTrap (CVE-2023-50387) ---------------------------------------------------------------


class Counted:
    """How often a signature is verified."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        verify = dns.dnssec._validate_signature

        def count(signature: bytes, data: bytes, key: DNSKEY) -> None:
            self.times += 1
            verify(signature, data, key)

        monkeypatch.setattr(dns.dnssec, "_validate_signature", count)


def test_a_thousand_keys_with_one_tag_are_no_set(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = SignedZone("com.")
    zone.extra_keys = tuple(twin(zone.zsk, number) for number in range(800))
    counted = Counted(monkeypatch)

    async def story(store: KeyStore, world: World) -> None:
        assert not store.offer("com.", *shown(zone))
        world.com = zone
        await store.refresh("com.")
        assert store.keys_for("com.") is None

    World().play(story, anchor=zone.anchor_text)
    assert read(zone.ask("com.", "DNSKEY"), ASKED_KEYS, None).outcome is Outcome.MALFORMED
    assert counted.times <= MOST_FAILED


def test_equal_tags_and_many_signatures_cost_a_bounded_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many keys as a set may have, and a thousand signatures that name them all."""
    zone = SignedZone("com.")
    zone.extra_keys = tuple(twin(zone.zsk, number) for number in range(40))
    soa = zone.soa()
    good = zone.zsk.sign(soa, zone.name, (NOW - DAY, NOW + DAY))
    bad = [good.replace(signature=number.to_bytes(64, "big")) for number in range(1000)]
    keys = Keys(
        zone="com.",
        rdataset=dns.rdataset.from_rdata_list(3600, list(zone.dnskey())),
        inception=NOW - DAY,
        expiration=NOW + DAY,
        checked=NOW,
    )
    counted = Counted(monkeypatch)
    held: list[RRSIG] = [rdata for rdata in bad if isinstance(rdata, RRSIG)]
    finding = Signatures().examine(soa, held, keys, wall=NOW, skew=0)
    assert finding.outcome is Outcome.BAD_SIGNATURE
    assert counted.times <= MOST_TRIED * len(keys.rdataset)
    message = zone.ask("com.", "SOA")
    message.answer[1] = dns.rrset.from_rdata_list("com.", 900, bad[:300])
    reading = read(message, SOA, None, trust=Trust(secure={"com.": keys}))
    assert reading.detail == "oversized: too many signatures"
