"""What this host's cryptographic library can do, and what follows where it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dns.dnssec
import dns.exception
import pytest
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from etc import configured
from responses import SOA, keys_of, read
from signedzone import NOW, SignedZone
from worlds import World

from steering import cli
from steering.model import Outcome
from steering.observe.dnssec import algorithms
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Trust

ZONE = SignedZone("com.")
NO = UnsupportedAlgorithm("sha1 is not supported")


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    algorithms.refused.cache_clear()
    yield
    algorithms.refused.cache_clear()


def test_each_algorithm_has_a_signature_that_is_known_to_be_good() -> None:
    assert algorithms.refused() == frozenset()
    assert algorithms._KNOWN.keys() == algorithms.ALGORITHMS


def refuse(monkeypatch: pytest.MonkeyPatch, how: BaseException) -> None:
    def verify(*_: object) -> None:
        raise how

    monkeypatch.setattr(dns.dnssec, "_validate_signature", verify)


@pytest.mark.parametrize(
    "how",
    [
        NO,
        InternalError("unknown", []),
        InvalidSignature(),
        ValueError("invalid digest"),
        dns.exception.UnsupportedAlgorithm(),  # type: ignore[no-untyped-call]
    ],
    ids=lambda how: type(how).__name__,
)
def test_by_what_the_library_refuses_nothing_is_judged(
    how: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal looks like a bad signature where a library says so (FIPS, crypto policies)."""
    refuse(monkeypatch, how)
    assert algorithms.refused() == algorithms.ALGORITHMS
    reading = read(ZONE.ask("com.", "SOA"), SOA, ZONE)
    assert (reading.outcome, reading.judged) == (Outcome.NO_KEY, False)
    assert "library refuses algorithm 13" in reading.detail


def test_a_refusal_that_comes_later_is_none_of_the_signature_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not algorithms.refused()
    refuse(monkeypatch, NO)
    rrset = ZONE.soa()
    (rrsig,) = ZONE._rrsigs(rrset)
    finding = Signatures().examine(rrset, [rrsig], keys_of(ZONE), wall=NOW, skew=0)
    assert (finding.outcome, finding.judged) == (Outcome.NO_KEY, False)


def test_dates_speak_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, NO)
    zone = SignedZone("com.", dates=lambda *_: (0, 1))
    assert read(zone.ask("com.", "SOA"), SOA, None, trust=Trust()).outcome is Outcome.EXPIRED


def test_the_key_store_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: KeyStore, _: World) -> None:
        await store.refresh("com.")
        assert "library refuses algorithm 13" in store.troubles["com."]
        assert not store.is_insecure("com.")

    world = World()
    refuse(monkeypatch, NO)
    world.play(story)


def test_check_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(monkeypatch, NO)
    cli.main(["check", "--config", str(configured(tmp_path))])
    assert "this host: DNSSEC: this host's cryptographic library" in capsys.readouterr().err
