"""A zone is good as a whole or not at all; and what its digest amounts to is said exactly."""

from __future__ import annotations

import random
import time

import dns.dnssec
import dns.rdataset
import dns.zone
import pytest
from spoiledzone import KINDS
from wholezone import DAY, ROOT, WholeZone

from steering.observe.dnssec import anchors
from steering.observe.zone import verify as verifying
from steering.observe.zone.facts import EVERYWHERE, Digest, ZoneFacts, newer
from steering.observe.zone.text import UnreadableZoneError, parsed
from steering.observe.zone.verify import RefusedAlgorithmError, verify

WANTED = {
    "another digest": Digest.WRONG,
    "another serial's digest": Digest.OTHER_SERIAL,
    "a doubled digest": Digest.DOUBLED,
    "an unknown scheme": Digest.UNSUPPORTED,
    "an unknown hash": Digest.UNSUPPORTED,
    "an unsigned digest": Digest.UNSIGNED,
    "no digest": Digest.ABSENT,
    "a digest that was removed": Digest.ABSENT,
    "glue changed": Digest.WRONG,
    "two hashes": Digest.VERIFIED,
    "an unknown scheme beside": Digest.VERIFIED,
}


@pytest.fixture(scope="module")
def made() -> WholeZone:
    return WholeZone(now=time.time())


def look(
    made: WholeZone, zone: dns.zone.Zone, *, wall: float | None = None, digest: bool = True
) -> ZoneFacts:
    return verify(
        zone,
        made.anchors["."],
        made.now if wall is None else wall,
        octets=0,
        understood=EVERYWHERE,
        digest_required=digest,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_way_to_spoil_a_zone_is_seen(kind: str, made: WholeZone) -> None:
    spoil, good = KINDS[kind]
    for seed in range(3):
        try:
            zone = parsed(spoil(made, random.Random(seed)), ".", "test")
        except UnreadableZoneError:
            assert not good
            continue
        facts = look(made, zone)
        assert facts.good is good, facts.problems
        if kind in WANTED:
            assert facts.digest is WANTED[kind]


def test_a_zone_without_a_digest_may_be_good_where_none_is_required(made: WholeZone) -> None:
    zone = made.signed(digest=False)
    assert not look(made, zone).good
    assert look(made, zone, digest=False).good


def test_a_digest_that_was_removed_is_seen_where_none_is_required(made: WholeZone) -> None:
    zone = parsed(KINDS["a digest that was removed"][0](made, random.Random(1)), ".", "test")
    assert not look(made, zone, digest=False).good


def test_the_first_signature_to_end_is_the_zones_life(made: WholeZone) -> None:
    def shorten(zone: dns.zone.Zone) -> None:
        made.resign(zone, "tld00003.", "DS", made.now - 60, DAY)

    facts = look(made, made.signed(between=shorten))
    assert facts.good
    assert facts.expires == int(made.now - 60 + DAY)


def test_dates_are_those_of_the_moment_that_is_asked_about(made: WholeZone) -> None:
    zone = made.signed()
    assert look(made, zone).good
    assert not look(made, zone, wall=made.now - DAY).good
    assert not look(made, zone, wall=made.now + 14 * DAY).good


def test_a_key_with_the_tag_of_the_trusted_one_is_not_trusted(
    made: WholeZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any key can be made to have a tag: the set is signed by one that is no anchor."""
    stranger = WholeZone(now=made.now)
    both = dns.rdataset.from_rdata_list(172800, [made.dnskeys[0], *stranger.dnskeys])

    def replace(zone: dns.zone.Zone) -> None:
        zone.replace_rdataset(ROOT, both)
        stranger.resign(zone, ".", "DNSKEY")

    zone = stranger.signed(between=replace)
    trusted, real = made.dnskeys[0], dns.dnssec.key_id
    monkeypatch.setattr(
        verifying.dns.dnssec,  # type: ignore[attr-defined]
        "key_id",
        lambda key: real(stranger.dnskeys[0]) if key == trusted else real(key),
    )
    anchor = anchors.parse(f". IN DNSKEY {trusted.to_text()}\n", source="test")["."]
    facts = verify(zone, anchor, made.now, octets=0, understood=EVERYWHERE, digest_required=True)
    (problem,) = facts.problems
    assert "signs the DNSKEY set" in problem


def test_an_algorithm_that_this_host_refuses_is_no_fault_of_the_zone(
    made: WholeZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "refused", lambda: frozenset({13}))
    with pytest.raises(RefusedAlgorithmError):
        look(made, made.signed())


@pytest.mark.parametrize("line", ["$INCLUDE /etc/passwd", "$GENERATE 1-999999999 a$ A 192.0.2.1"])
def test_a_file_that_reads_others_or_never_ends_is_refused(line: str) -> None:
    with pytest.raises(UnreadableZoneError):
        parsed(f"{line}\n", ".", "test")


def test_an_anchor_of_an_unknown_algorithm_makes_nothing_good(made: WholeZone) -> None:
    other = anchors.parse(f". IN DS 1 250 2 {'00' * 32}\n", source="test")["."]
    facts = verify(
        made.signed(), other, made.now, octets=0, understood=EVERYWHERE, digest_required=True
    )
    assert "no algorithm of the trust anchor is known" in facts.problems


def test_problems_without_number_are_counted(made: WholeZone) -> None:
    zone = made.signed()
    facts = look(made, zone, wall=made.now + 14 * DAY)
    assert len(facts.problems) < 12
    assert any("more problems" in problem for problem in facts.problems)


@pytest.mark.parametrize(
    ("one", "other", "is_newer"),
    [
        (1, 0, True),
        (0, 1, False),
        (0, 0, False),
        (0, (1 << 32) - 1, True),
        ((1 << 31) - 1, 0, True),
        (1 << 31, 0, False),
        (0, 1 << 31, False),
    ],
)
def test_serials_are_compared_as_rfc_1982_says(one: int, other: int, is_newer: bool) -> None:
    assert newer(one, other) is is_newer
