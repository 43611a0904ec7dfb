"""When no resolver answers, the root's keys and the DS sets below it come from the kept copy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import dns.message
import dns.rdatatype
import dns.zone
import pytest
from scripted import Server, serving
from signedzone import DAY, NOW, SignedZone
from transfers import serving as giving
from wholezone import WholeZone, put

from steering.model import WallTime
from steering.observe.dnssec.keys.chain import Lack, dnskeys
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.zone.child import fetch
from steering.observe.zone.facts import Fetched
from steering.observe.zone.lookup import ZoneFile


@pytest.fixture(scope="module")
def com() -> SignedZone:
    return SignedZone("com.")


@pytest.fixture(scope="module")
def root() -> WholeZone:
    return WholeZone(now=NOW)


@pytest.fixture(scope="module")
def file(root: WholeZone, com: SignedZone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy: com. is a signed delegation in it, and org. an unsigned one."""

    def add(zone: dns.zone.Zone) -> None:
        for child in ("com.", "org."):
            put(zone, child, 172800, f"NS ns.{child}")
            put(zone, f"ns.{child}", 172800, "A 192.0.2.1")
        put(zone, "com.", 86400, f"DS {com.ksk.ds(com.name)}")

    made = tmp_path_factory.mktemp("copy") / "root.zone"
    with giving(root.signed(before=add)) as source:
        found = asyncio.run(fetch([source], made, ".", root.anchors, wall=NOW))
    assert isinstance(found, Fetched)
    assert found.copy is not None, found
    return made


def store(
    root: WholeZone, file: Path, *resolvers: str, wall: WallTime = NOW, port: int = 9
) -> KeyStore:
    return KeyStore(
        (".", "com.", "org."),
        root.anchors,
        resolvers,
        signatures=Signatures(),
        timeout=0.2,
        port=port,
        parents_port=9,
        wall=lambda: wall,
        monotonic=lambda: 1000.0,
        copy=ZoneFile(file, wall=lambda: wall).ask,
    )


async def refreshed(keys: KeyStore) -> None:
    for zone in (".", "com.", "org."):
        await keys.refresh(zone)


@pytest.mark.parametrize("resolvers", [(), ("127.0.0.1",)])
def test_without_a_resolver_keys_are_chained_from_the_copy(
    resolvers: tuple[str, ...], root: WholeZone, com: SignedZone, file: Path
) -> None:
    keys = store(root, file, *resolvers)
    asyncio.run(refreshed(keys))
    held = keys.keys_for(".")
    assert held is not None
    assert set(held.rdataset) == set(root.dnskeys)
    assert keys.is_insecure("org.")
    # The copy has the DS set of com., and its own servers show the keys that fit it.
    shown = dnskeys(com.ask("com.", "DNSKEY"), "com.")
    assert shown is not None
    assert keys.offer("com.", *shown)
    assert keys.keys_for("com.") is not None


def test_keys_that_the_copy_does_not_name_are_not_taken(root: WholeZone, file: Path) -> None:
    keys = store(root, file)
    asyncio.run(refreshed(keys))
    shown = dnskeys(SignedZone("com.").ask("com.", "DNSKEY"), "com.")
    assert shown is not None
    assert not keys.offer("com.", *shown)
    assert keys.keys_for("com.") is None


def test_a_copy_that_lies_is_not_believed(
    root: WholeZone, com: SignedZone, file: Path, tmp_path: Path
) -> None:
    """Its first line is whatever somebody wrote: each record needs the zone's signature."""
    stranger = WholeZone(now=NOW)
    keys = store(stranger, file)
    asyncio.run(refreshed(keys))
    assert keys.keys_for(".") is None
    liar, spoiled = SignedZone("com."), tmp_path / "root.zone"
    ds, other = com.ksk.ds(com.name).to_text(), liar.ksk.ds(com.name).to_text()
    assert ds in file.read_text()
    spoiled.write_text(file.read_text().replace(ds, other))
    keys = store(root, spoiled)
    asyncio.run(refreshed(keys))
    shown = dnskeys(liar.ask("com.", "DNSKEY"), "com.")
    assert shown is not None
    assert not keys.offer("com.", *shown)


@pytest.mark.parametrize("days", [-1, 8, 14])
def test_a_copy_past_its_date_or_from_the_future_is_not_used(
    days: int, root: WholeZone, file: Path
) -> None:
    keys = store(root, file, wall=NOW + days * DAY)
    asyncio.run(refreshed(keys))
    assert keys.keys_for(".") is None
    assert not keys.is_insecure("org.")


def test_a_resolver_that_answers_is_asked_alone(root: WholeZone, file: Path) -> None:
    """What it says is newer than a copy, also where it says that something is wrong."""

    def respond(wire: bytes, tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(wire)
        return [dns.message.make_response(query).to_wire()]

    async def story() -> KeyStore:
        async with serving(Server("127.0.0.1", respond)) as port:
            keys = store(root, file, "127.0.0.1", port=port)
            await keys.refresh(".")
            return keys

    keys = asyncio.run(story())
    assert keys.keys_for(".") is None
    assert {problem.lack for problem in keys.wrong()} == {Lack.CHAIN}


def test_a_file_that_is_no_copy_gives_nothing(tmp_path: Path) -> None:
    for text in ("", "; steering {}\n", ". 1 IN SOA a. b. 1 1 1 1 1\n"):
        file = tmp_path / "root.zone"
        file.write_text(text)
        assert asyncio.run(ZoneFile(file).ask(".", "DNSKEY")) is None
    assert asyncio.run(ZoneFile(tmp_path / "missing").ask(".", "DNSKEY")) is None


def test_a_name_that_is_not_in_the_copy_is_not_denied_by_it(file: Path) -> None:
    zone = ZoneFile(file, wall=lambda: NOW)
    assert asyncio.run(zone.ask("missing.", "DS")) is None
    answer = asyncio.run(zone.ask("com.", "DS"))
    assert answer is not None
    assert [r.rdtype for r in answer.answer] == [dns.rdatatype.DS, dns.rdatatype.RRSIG]


def test_records_from_the_copy_are_as_old_as_it_is(file: Path) -> None:
    young, old = ZoneFile(file, wall=lambda: NOW), ZoneFile(file, wall=lambda: NOW + 3600)
    ttls = [asyncio.run(one.ask("com.", "DS")) for one in (young, old)]
    assert [m.answer[0].ttl for m in ttls if m is not None] == [86400, 82800]
