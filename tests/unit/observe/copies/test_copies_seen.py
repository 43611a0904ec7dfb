"""What is seen of a zone's servers, of copies and at their clients: by real datagrams."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from scripted import Server, serving
from signedzone import DAY, NOW, SignedZone

from steering.copies import Way
from steering.observe.copies import ask as asking
from steering.observe.copies import held as holding
from steering.observe.copies.ask import Answer, ask
from steering.observe.copies.clients import Clients, ask_clients
from steering.observe.copies.held import CopyFile, by_address, mirrored
from steering.observe.copies.servers import Proven, Servers
from steering.observe.dnssec import anchors
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.zone.facts import Digest, Failed, Fault, ZoneFacts

HERE = "127.0.0.1"
Twist = Callable[[dns.message.Message, dns.message.Message], dns.message.Message | bytes | None]


def root(**settings: object) -> SignedZone:
    """A root zone with NSEC, of three delegations."""
    children = {"aaa": (), "mmm": (), "zw": ()}
    return SignedZone(".", nsec3=False, children=children, **settings)  # type: ignore[arg-type]


def answering(zone: SignedZone, twist: Twist = lambda _query, answer: answer) -> Server:
    """A server of the zone, whose answers the twist may change, or withhold."""

    def respond(wire: bytes, _tcp: bool) -> Iterable[bytes]:
        query = dns.message.from_wire(wire)
        made = twist(query, zone.answer(query))
        if made is not None:
            yield made if isinstance(made, bytes) else made.to_wire(max_size=65535)

    return Server(HERE, respond)


def run(server: Server, story: Callable[[int], Awaitable[None]]) -> None:
    async def with_server() -> None:
        async with serving(server) as port:
            await story(port)

    asyncio.run(with_server())


async def keys_of(zone: SignedZone, port: int) -> KeyStore:
    held = anchors.parse(zone.anchor_text, source="test")
    keys = KeyStore(
        ["."], held, [HERE], signatures=Signatures(), port=port, wall=lambda: float(NOW)
    )
    await keys.refresh(".")
    assert keys.keys_for(".") is not None
    return keys


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TIMEOUT", 0.2)


# --- the zone's own servers ---------------------------------------------------------------------


def test_servers_show_a_proven_serial_and_names_from_all_over_the_zone() -> None:
    zone = root()

    async def story(port: int) -> None:
        keys = await keys_of(zone, port)
        servers = Servers(".", [HERE], port=port)
        assert servers.names() == ()
        real = await servers.look(keys, Signatures(), (), 0.0, NOW)
        assert (real.serial, real.refresh, real.answers, real.doubt) == (NOW, 1800.0, True, "")
        assert (real.expires, real.expire) == (NOW + 6 * DAY, 604_800.0)
        assert servers.names()[-1] == "zw."
        for _ in range(20):
            await servers.look(keys, Signatures(), (), 0.0, NOW)
        names = {name for _ in range(60) for name in servers.names()}
        assert {"zw."} < names <= {"aaa.", "mmm.", "www.", "zw."}

    run(answering(zone), story)


def test_a_serial_that_no_key_proves_does_not_count() -> None:
    zone, forger = root(), root(serial=NOW + 1000)

    async def story(port: int) -> None:
        keys = await keys_of(zone, port)
        server.respond = answering(forger).respond
        real = await Servers(".", [HERE], port=port).look(keys, Signatures(), (), 0.0, NOW)
        assert (real.serial, real.answers, real.doubt) == (None, False, "")

    server = answering(zone)
    run(server, story)


def test_signatures_that_have_ended_everywhere_are_a_doubt_and_no_serial() -> None:
    zone = root()

    async def story(port: int) -> None:
        keys = await keys_of(zone, port)
        servers = Servers(".", [HERE], port=port)
        real = await servers.look(keys, Signatures(), (), 0.0, NOW + 30 * DAY)
        assert (real.serial, real.answers) == (None, False)
        assert "this host's clock is wrong" in real.doubt
        elsewhere = [Proven(serial=NOW + 5, expires=NOW + 40.0 * DAY)]
        real = await servers.look(keys, Signatures(), elsewhere, 0.0, NOW + 30 * DAY)
        assert (real.serial, real.doubt) == (NOW + 5, "")  # another path shows that it is them

    run(answering(zone), story)


def test_the_newest_of_all_paths_is_the_one_that_copies_are_compared_with() -> None:
    zone = root()

    async def story(port: int) -> None:
        keys = await keys_of(zone, port)
        servers = Servers(".", [HERE], port=port)
        for other, newest in ((NOW + 1, NOW + 1), (NOW - 1, NOW), (NOW + 2**31, NOW)):
            seen = [Proven(serial=other % 2**32, expires=None)]
            real = await servers.look(keys, Signatures(), seen, 0.0, NOW)
            assert real.serial == newest

    run(answering(zone), story)


def test_names_are_learned_from_proven_answers_alone() -> None:
    """Whoever made up a name would make all resolvers look as if they denied one that exists."""
    zone, forger = root(), root(names=("invented",))

    async def story(port: int) -> None:
        keys = await keys_of(zone, port)
        server.respond = answering(forger).respond
        servers = Servers(".", [HERE], names=["aaa."], port=port)
        await servers.look(keys, Signatures(), (), 0.0, NOW)
        assert servers.names() == ("aaa.",)

    server = answering(zone)
    run(server, story)


def test_a_name_that_was_removed_since_is_no_longer_in_the_zone() -> None:
    zone = root()

    async def story(port: int) -> None:
        keys = await keys_of(zone, port)
        servers = Servers(".", [HERE], port=port)
        found = [await servers.has(n, keys, Signatures(), NOW) for n in ("zw.", "www.", "gone.")]
        assert found == [True, True, False]
        server.respond = answering(root()).respond  # of another's keys
        assert not await servers.has("zw.", keys, Signatures(), NOW)

    server = answering(zone)
    run(server, story)


# --- a copy -------------------------------------------------------------------------------------


def test_what_a_server_holds_is_seen_with_its_dates_and_its_edns_expire() -> None:
    def with_expire(query: dns.message.Message, answer: dns.message.Message) -> dns.message.Message:
        assert [int(option.otype) for option in query.options] == [9]
        expire = dns.edns.GenericOption(9, (7000).to_bytes(4))  # type: ignore[arg-type]
        answer.use_edns(0, dns.flags.DO, 1232, options=[expire])
        return answer

    async def story(port: int) -> None:
        shown = await by_address(HERE, ".", port=port)
        assert not isinstance(shown, str)
        assert (shown.serial, shown.expire, shown.left) == (NOW, 604_800.0, 7000.0)
        assert (shown.expires, shown.authoritative) == (NOW + 6.0 * DAY, True)
        assert await mirrored(HERE, ".", port=port) == NOW

    run(answering(root(), with_expire), story)


def test_dates_are_read_however_old_they_are_and_whatever_the_resolver_says_of_them() -> None:
    def mirror(query: dns.message.Message, answer: dns.message.Message) -> dns.message.Message:
        answer.flags &= ~dns.flags.AA
        answer.flags |= dns.flags.AD | dns.flags.RA
        if not query.flags & dns.flags.RD:
            answer = dns.message.make_response(query)
            answer.set_rcode(dns.rcode.REFUSED)
        return answer

    def ended(_owner: object, _rdtype: str) -> tuple[int, int]:
        return NOW - 20 * DAY, NOW - 7 * DAY

    async def story(port: int) -> None:
        shown = await by_address(HERE, ".", port=port)
        assert not isinstance(shown, str)
        assert (shown.expires, shown.authoritative) == (NOW - 7.0 * DAY, False)
        assert await mirrored(HERE, ".", port=port) is None
        clients = Clients(direct=(HERE,), port=port)
        ways = {asked.way for asked in await ask_clients(clients, ".", ["zw."], NOW)}
        assert Way.EXPIRED in ways  # AD is set in all of them

    run(answering(root(dates=ended), mirror), story)


@pytest.mark.parametrize(
    ("twist", "why"),
    [
        (lambda _query, _answer: None, "no answer"),
        (lambda query, _answer: query.to_wire()[:2] + b"\x81", "no answer"),
        (lambda query, _answer: dns.message.make_response(query), "NOERROR without a SOA"),
    ],
    ids=["silent", "cut", "empty"],
)
def test_a_server_that_shows_no_copy_is_told_with_its_address(twist: Twist, why: str) -> None:
    async def story(port: int) -> None:
        shown = await by_address(HERE, ".", port=port)
        assert isinstance(shown, str)
        assert shown.startswith(HERE)
        assert why in shown

    run(answering(root(), twist), story)


def test_a_zone_whose_name_leaves_no_room_for_a_random_label_is_asked_for_the_rest() -> None:
    zone = ".".join(["a" * 63] * 3 + ["b" * 61]) + "."

    async def story(port: int) -> None:
        asked = await ask_clients(Clients(direct=(HERE,), port=port), zone, [], NOW)
        assert [one.way for one in asked] == [Way.SILENT, Way.SILENT]
        await Servers(zone, [HERE], port=port)._learn_names(None, None, 0.0, NOW)  # type: ignore[arg-type]

    run(answering(root(), lambda _query, _answer: None), story)


def test_an_answer_that_is_no_message_is_dropped_with_a_word() -> None:
    def broken(query: dns.message.Message, answer: dns.message.Message) -> bytes:
        return answer.to_wire(max_size=65535)[:-7]

    async def story(port: int) -> None:
        answer = await ask(HERE, ".", "SOA", ".", port=port)
        assert isinstance(answer, Answer | str)

    run(answering(root(), broken), story)


# --- its clients --------------------------------------------------------------------------------


def test_clients_are_asked_for_what_no_cache_has_and_each_failure_has_its_word() -> None:
    ways = {"aaa.": "SERVFAIL", "mmm.": "NXDOMAIN", "zw.": "REFUSED"}

    def some_fail(
        query: dns.message.Message, answer: dns.message.Message
    ) -> dns.message.Message | None:
        name = query.question[0].name.to_text()
        if name in ways:
            answer = dns.message.make_response(query)
            answer.set_rcode(dns.rcode.from_text(ways[name]))
        return answer

    async def story(port: int) -> None:
        clients = Clients(direct=(HERE,), through=(HERE,), port=port)
        asked = await ask_clients(clients, ".", [*ways], NOW)
        found = {one.name: one.way for one in asked if not one.behind}
        assert found["."] is Way.GOOD
        assert (found["aaa."], found["mmm."]) == (Way.SERVFAIL, Way.DENIED)
        assert found["zw."] is Way.REFUSED
        (random,) = found.keys() - {".", *ways}
        assert (len(random), found[random]) == (15, Way.GOOD)
        assert sum(one.behind for one in asked) == len(asked) / 2
        assert {one.serial for one in asked if one.rdtype == "SOA"} == {NOW}
        assert {one.denied for one in asked if one.way is not Way.DENIED} == {None}

    run(answering(root(), some_fail), story)


def test_a_name_that_is_denied_is_shown_with_the_version_that_denies_it() -> None:
    async def story(port: int) -> None:
        for shows in (True, False):
            clients = Clients(direct=(HERE,), denial_shows=shows, port=port)
            (*_, one) = await ask_clients(clients, ".", ["new."], NOW)
            assert (one.way, one.denied, one.serial) == (Way.DENIED, NOW, None)

    run(answering(root()), story)


def test_a_denial_of_powerdns_shows_nothing_of_its_copy() -> None:
    async def story(port: int) -> None:
        for shows in (True, False):
            clients = Clients(direct=(HERE,), denial_shows=shows, port=port)
            asked = await ask_clients(clients, ".", [], NOW)
            assert [one.serial for one in asked] == [NOW, NOW if shows else None]

    run(answering(root()), story)


# --- its file -----------------------------------------------------------------------------------


def test_a_file_is_verified_when_it_changes_and_not_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone, seen = root(), list[str]()
    results: list[ZoneFacts | Failed] = [
        ZoneFacts(
            zone=".",
            serial=5,
            refresh=1800,
            retry=900,
            expire=604_800,
            records=3,
            octets=100,
            expires=float(NOW),
            digest=Digest.VERIFIED,
            unknown_types=("NEWTYPE",),
        ),
        Failed(because="no process", fault=Fault.HOST),
        Failed(because="cut in line 7", fault=Fault.FILE),
    ]

    async def examine(file: Path, *_: object, **__: object) -> ZoneFacts | Failed:
        seen.append(file.read_text())  # noqa: ASYNC240
        return results[len(seen) - 1]

    monkeypatch.setattr(holding, "examine", examine)

    async def story(port: int) -> None:
        keys = await keys_of(zone, port)
        path = tmp_path / "root.zone"
        file = CopyFile(path, ".")
        absent = await file.look(keys, NOW)
        assert absent is not None
        assert "No such file" in absent.refused
        path.write_text("one")
        for _ in range(3):
            shown = await file.look(keys, NOW)
        assert shown is not None
        assert shown.shown is not None
        assert (shown.shown.serial, shown.refused, shown.foreign) == (5, "", ("NEWTYPE",))
        assert seen == ["one"]
        path.write_text("another")
        assert await file.look(keys, NOW) is None  # a fault of this host says nothing of the file
        assert "no process" in file.trouble
        shown = await file.look(keys, NOW)  # so it is looked at again
        assert shown is not None
        assert (shown.shown, shown.refused, file.trouble) == (None, "cut in line 7", "")
        assert seen == ["one", "another", "another"]
        await file.look(keys, NOW)
        assert len(seen) == 3
        monkeypatch.setattr(holding, "AGAIN", -1.0)  # this host's clock may have been why
        results.append(results[0])
        shown = await file.look(keys, NOW)
        assert shown is not None
        assert shown.refused == ""

    run(answering(zone), story)


def test_a_file_system_that_hangs_holds_nothing_up_and_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone, over, asked = root(), threading.Event(), list[Path]()

    class Hanging(type(tmp_path)):  # type: ignore[misc]
        def stat(self, **_: object) -> None:
            asked.append(self)
            over.wait(20.0)

    monkeypatch.setattr(holding, "STAT_WITHIN", 0.05)

    async def story(port: int) -> None:
        keys = await keys_of(zone, port)
        file = CopyFile(Hanging(tmp_path), ".")
        for _ in range(3):
            assert await file.look(keys, NOW) is None
        assert "does not answer" in file.trouble
        assert len(asked) == 1
        over.set()

    run(answering(zone), story)
