"""The prober over real sockets, against nameservers that misbehave as told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Sequence

import dns.flags
import dns.message
import dns.rcode
import pytest
from probing import COM, LOCAL_ONLY, Upstream, Watching, healthy, probing, question
from scripted import Respond, Server, accepting, serving
from signedzone import NOW, SignedZone

from steering.lab.waiting import async_until
from steering.model import (
    LOCAL,
    Attention,
    Family,
    Kind,
    Observation,
    Outcome,
    Round,
    Source,
    Target,
    Verdict,
)
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.probe.prober import Path, Prober
from steering.observe.probe.schedule import LIVE, Pace
from steering.observe.query import SO_MARK, ProbePin, Query, Reply, query, send_query


def anything(_one: Observation) -> bool:
    return True


def silent(_wire: bytes, _tcp: bool) -> Iterable[bytes]:
    return ()


def observe(
    respond: Respond, wanted: Callable[[Observation], bool], *, tcp: bool = True
) -> Observation:
    """The first observation of a kind that a server so answering gives."""

    async def story() -> Observation:
        async with (
            serving(Server("127.0.0.1", respond), tcp=tcp) as port,
            probing("127.0.0.1", port=port, patience=0.1) as watching,
        ):
            return await watching.first(wanted)

    return asyncio.run(story())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_healthy_server_is_secure_with_all_that_the_answer_tells(address: str) -> None:
    async def story() -> None:
        server = Server(address, healthy)
        async with serving(server) as port, probing(address, port=port) as watching:
            seen = await watching.first(
                lambda one: one.outcome is Outcome.SECURE and bool(one.serial)
            )
            assert (seen.path, seen.live, seen.reached, seen.judged) == ("local", False, True, True)
            assert (seen.serial, seen.nsid) == (NOW, "sin1")
            assert seen.rtt is not None
            assert 0 < seen.rtt < 0.5
            wanted = {Kind.SOA, Kind.DNSKEY, Kind.DENIAL}
            await async_until(lambda: {done.question.kind for done in watching.rounds} >= wanted)
            assert {one.outcome for one in watching.observations} == {Outcome.SECURE}
            assert len(server.ports) >= sum(not tcp for _, tcp in server.asked) * 0.8
            ids = {wire[:2] for wire, _ in server.asked}
            assert len(ids) >= len(server.asked) * 0.8

    asyncio.run(story())


def test_missing_keys_are_asked_for_first_and_nothing_counts_before() -> None:
    async def story() -> None:
        async with (
            serving(Server("127.0.0.1", healthy)) as port,
            probing("127.0.0.1", port=port, interval=5.0) as watching,
        ):
            await async_until(lambda: watching.rounds, within=6)
            assert watching.rounds[0].question.kind is Kind.DNSKEY
            assert watching.keys.keys_for("com.") is not None
            assert watching.observations[0].outcome is Outcome.SECURE

    asyncio.run(story())


@pytest.mark.parametrize(
    ("rcode", "outcome"),
    [(dns.rcode.SERVFAIL, Outcome.SERVFAIL), (dns.rcode.REFUSED, Outcome.REFUSED)],
)
def test_errors_keep_their_names(rcode: dns.rcode.Rcode, outcome: Outcome) -> None:
    def respond(wire: bytes, _tcp: bool) -> Iterable[bytes]:
        message = dns.message.make_response(dns.message.from_wire(wire))
        message.set_rcode(rcode)
        yield message.to_wire()

    assert observe(respond, anything).outcome is outcome


def test_expired_signatures_come_with_their_evidence() -> None:
    old = SignedZone("com.", dates=lambda *_: (NOW - 100, NOW - 10))
    seen = observe(lambda wire, _: [old.respond(wire)], anything)
    assert seen.outcome is Outcome.EXPIRED
    assert seen.evidence is not None
    assert seen.evidence.expiration == NOW - 10


def test_rubbish_is_malformed_and_the_next_round_comes() -> None:
    async def story() -> None:
        def respond(wire: bytes, _tcp: bool) -> Iterable[bytes]:
            yield wire[:2] + b"\x84\0\0\1\0\1\0\0\0\0" + question(wire) + b"\xc0" * 300

        server = Server("127.0.0.1", respond)
        async with serving(server) as port, probing("127.0.0.1", port=port) as watching:
            await async_until(lambda: len(watching.rounds) >= 3)
            assert {one.outcome for one in watching.observations} == {Outcome.MALFORMED}

    asyncio.run(story())


def truncating(wire: bytes, tcp: bool) -> Iterable[bytes]:
    if tcp:
        yield COM.respond(wire)
    else:
        message = dns.message.make_response(dns.message.from_wire(wire))
        message.flags |= dns.flags.TC | dns.flags.AA
        yield message.to_wire()


def test_a_truncated_answer_is_asked_for_again_by_tcp() -> None:
    async def story() -> None:
        server = Server("127.0.0.1", truncating)
        async with serving(server) as port, probing("127.0.0.1", port=port) as watching:
            await watching.first(lambda one: one.outcome is Outcome.SECURE)
        assert [tcp for _, tcp in server.asked[:2]] == [False, True]
        assert server.asked[0][0] == server.asked[1][0]

    asyncio.run(story())


def test_truncated_without_tcp_is_a_timeout_of_an_address_that_is_there() -> None:
    seen = observe(truncating, anything, tcp=False)
    assert (seen.outcome, seen.reached) == (Outcome.TIMEOUT, True)
    assert seen.detail == "TCP: Connection refused"


def test_a_truncated_answer_by_tcp_is_malformed() -> None:
    seen = observe(lambda wire, _: truncating(wire, False), anything)
    assert (seen.outcome, seen.detail) == (Outcome.MALFORMED, "truncated")


@pytest.mark.parametrize(("padding", "tcp"), [(0, False), (1000, False), (1000, True)])
def test_the_size_of_a_large_answer_is_told_whatever_is_in_it(padding: int, tcp: bool) -> None:
    def respond(wire: bytes, by_tcp: bool) -> Iterable[bytes]:
        answers = healthy(wire, by_tcp) if by_tcp or not tcp else truncating(wire, by_tcp)
        for answer in answers:
            yield answer + (bytes(padding) if by_tcp is tcp else b"")

    seen = observe(respond, lambda one: one.tcp is tcp)
    assert not seen.stalled
    assert seen.large == 0 if not padding else seen.large > 1000


@pytest.mark.parametrize("some", [b"", b"\x04\xd2half of it"], ids=["nothing", "half"])
def test_an_answer_that_stops_on_its_way_is_told_from_one_that_is_refused(some: bytes) -> None:
    """What loses full segments lets the connection be made."""

    async def stop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(some)
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    async def story() -> Observation:
        async with (
            serving(Server("127.0.0.1", truncating), tcp=False) as port,
            accepting(stop, "127.0.0.1", port),
            probing("127.0.0.1", port=port, patience=0.5) as watching,
        ):
            return await watching.first(lambda one: one.stalled)

    seen = asyncio.run(story())
    assert (seen.outcome, seen.tcp, seen.reached) == (Outcome.TIMEOUT, True, True)
    assert not observe(truncating, anything, tcp=False).stalled


@pytest.mark.parametrize(("took", "stalled"), [(0.04, True), (0.06, False)])
def test_over_a_slow_path_an_answer_that_comes_late_has_not_stopped(
    took: float, stalled: bool
) -> None:
    async def story() -> Reply:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            replies, now = list[Reply](), iter([0.0, took])
            Query(
                query("com.", "SOA"),
                7,
                "127.0.0.1",
                done=replies.append,
                timeout=0.1,
                port=mute.getsockname()[1],
                tcp=True,
                monotonic=lambda: next(now),
            )
            await async_until(lambda: replies)
            return replies[0]

    reply = asyncio.run(story())
    assert (reply.reached, reply.stalled) == (True, stalled)


def test_answers_to_other_ids_are_passed_over() -> None:
    def respond(wire: bytes, _tcp: bool) -> Iterable[bytes]:
        other = bytes([wire[0] ^ 1]) + wire[1:]
        yield COM.respond(other)
        yield b""
        yield wire[:2]
        yield COM.respond(wire)

    assert observe(respond, anything).outcome is Outcome.SECURE


def test_only_answers_to_other_ids_are_a_timeout() -> None:
    def respond(wire: bytes, _tcp: bool) -> Iterable[bytes]:
        yield COM.respond(bytes([wire[0] ^ 1]) + wire[1:])

    assert observe(respond, anything).outcome is Outcome.TIMEOUT


def test_silence_is_a_timeout_and_nobody_was_reached() -> None:
    seen = observe(silent, anything)
    assert (seen.outcome, seen.reached, seen.rtt) == (Outcome.TIMEOUT, False, None)
    assert seen.detail == "no answer"


def test_after_two_silences_a_handshake_shows_that_the_address_is_there() -> None:
    seen = observe(silent, lambda one: one.reached)
    assert (seen.outcome, seen.detail) == (Outcome.TIMEOUT, "TCP: closed before the answer")


def test_after_two_silences_a_reset_shows_it_too() -> None:
    seen = observe(silent, lambda one: one.reached, tcp=False)
    assert (seen.outcome, seen.detail) == (Outcome.TIMEOUT, "TCP: Connection refused")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_refused_port_is_silence_until_a_reset_shows_that_the_address_is_there(
    address: str,
) -> None:
    """Who guesses a port can make up an ICMP error; TCP's sequence number he cannot guess."""

    async def story() -> None:
        async with probing(address, port=_unused_port(address), patience=0.1) as watching:
            seen = await watching.first(lambda one: one.reached)
            assert (seen.outcome, seen.detail) == (Outcome.TIMEOUT, "TCP: Connection refused")
            before = watching.observations[: watching.observations.index(seen)]
            assert {(one.outcome, one.reached, one.detail) for one in before} == {
                (Outcome.TIMEOUT, False, f"{address}: port unreachable")
            }

    asyncio.run(story())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_answer_that_comes_after_an_icmp_error_is_an_answer(address: str) -> None:
    async def story() -> None:
        port, replies = _unused_port(address), list[Reply]()
        inquiry = Query(query("com.", "SOA"), 7, address, done=replies.append, timeout=5, port=port)
        assert inquiry._socket is not None
        asker = inquiry._socket.getsockname()
        await async_until(lambda: inquiry._icmp == f"{address}: port unreachable")
        assert not replies
        with socket.socket(inquiry._socket.family, socket.SOCK_DGRAM) as late:
            late.bind((address, port))
            late.sendto(b"\0\7\x84\0" + bytes(8), asker)
            await async_until(lambda: replies)
        (reply,) = replies
        assert (reply.wire, reply.reached, reply.detail) == (b"\0\7\x84\0" + bytes(8), True, "")

    asyncio.run(story())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_resolver_that_is_not_there_keeps_nobody_waiting(address: str) -> None:
    """There is another one to ask, and whoever answers is not believed anyway."""

    async def story() -> None:
        port = _unused_port(address)
        async with asyncio.timeout(5):
            reply = await send_query(query("com.", "DS"), 7, address, time_limit=60, port=port)
        assert (reply.wire, reply.ours, reply.detail) == (
            None,
            False,
            f"{address}: port unreachable",
        )

    asyncio.run(story())


def test_what_fails_on_this_host_is_never_the_upstreams_and_stops_no_round() -> None:
    async def story() -> None:
        # No route leads from the loopback's own addresses to a multicast or class E address.
        async with (
            serving(Server("127.0.0.1", healthy)) as port,
            probing("255.255.255.255", "127.0.0.1", port=port) as watching,
        ):
            await async_until(lambda: len({done.address for done in watching.rounds}) == 2)
            broken = await watching.first(lambda one: one.address == "255.255.255.255")
            assert (broken.outcome, broken.reached) == (Outcome.LOCAL_ERROR, False)
            assert broken.detail
            await watching.first(lambda one: one.outcome is Outcome.SECURE)

    asyncio.run(story())


@pytest.mark.skipif("not _may_mark()", reason="marks need CAP_NET_ADMIN")
def test_a_dead_gateway_excuses_silence_of_what_goes_by_it_only() -> None:
    async def story() -> None:
        paths = (Path(name="local"), Path(name="pao", mark=0x5354))
        async with (
            serving(Server("127.0.0.1", silent)) as port,
            probing(
                "127.0.0.1",
                port=port,
                paths=paths,
                patience=0.1,
                gateway_dead=lambda address, mark: (address, mark) == ("127.0.0.1", 0x5354),
            ) as watching,
        ):
            await async_until(lambda: watching.rounds)
            local, pao = watching.rounds[0].observations
            assert (local.outcome, pao.outcome) == (Outcome.TIMEOUT, Outcome.LOCAL_ERROR)
            assert pao.detail == "no answer; the gateway is dead"

    asyncio.run(story())


def test_a_live_question_that_no_gateway_carries_did_not_get_out() -> None:
    async def story() -> None:
        async with (
            serving(Server("127.0.0.1", silent)) as port,
            probing(
                "127.0.0.1",
                port=port,
                patience=0.1,
                gateway_dead=lambda address, mark: (address, mark) == ("127.0.0.1", None),
            ) as watching,
        ):
            attention = Attention(paths=frozenset({"local"}), live=True)
            watching.prober.attend({"127.0.0.1": attention})
            live = await watching.first(lambda one: one.live)
            assert (live.outcome, live.reached) == (Outcome.LOCAL_ERROR, False)

    asyncio.run(story())


def test_a_question_from_a_bound_socket_is_sent_only_where_the_path_leaves_by_that_link() -> None:
    async def story() -> None:
        asked: set[tuple[str, str | None]] = set()

        def leads(path: str, _address: str, interface: str | None) -> bool:
            asked.add((path, interface))
            return interface is None or path == "local"

        server = Server("127.0.0.1", healthy)
        bound = [Source(address="127.0.0.1", interface="lo"), Source(address="127.0.0.7")]
        paths = (Path(name="local"), Path(name="pao"))
        async with (
            serving(server) as port,
            probing("127.0.0.1", port=port, paths=paths, leads=leads, sources=bound) as watching,
        ):
            await async_until(lambda: len(asked) == 4 and len(watching.rounds) >= 4)
            for one in watching.observations:
                if one.path == "pao" and one.source == "127.0.0.1@lo":
                    assert (one.outcome, one.reached) == (Outcome.LOCAL_ERROR, False)

    asyncio.run(story())


def test_over_a_path_that_its_mark_does_not_lead_to_nothing_is_sent() -> None:
    async def story() -> None:
        server = Server("127.0.0.1", healthy)
        paths = (Path(name="local"), Path(name="pao"))
        async with (
            serving(server) as port,
            probing(
                "127.0.0.1",
                port=port,
                paths=paths,
                leads=lambda path, address, _: (path, address) != ("pao", "127.0.0.1"),
            ) as watching,
        ):
            await async_until(lambda: len(watching.rounds) >= 5)
            assert len(server.asked) <= len(watching.rounds) + 1
            local, pao = watching.rounds[-1].observations
            assert (local.outcome, pao.outcome) == (Outcome.SECURE, Outcome.LOCAL_ERROR)
            assert (pao.reached, pao.detail) == (False, "no route over this path now")

    asyncio.run(story())


def test_a_round_puts_one_question_over_all_paths_and_live_ones_where_attended() -> None:
    async def story() -> None:
        server = Server("127.0.0.1", healthy)
        paths = (Path(name="local"), Path(name="pao"))
        async with serving(server) as port, probing("127.0.0.1", port=port, paths=paths) as seen:
            await async_until(lambda: seen.rounds)
            assert [one.path for one in seen.rounds[0].observations] == ["local", "pao"]
            attention = Attention(
                paths=frozenset({"local"}), live=True, witnesses=("gone.com.", "x.safe.com.")
            )
            seen.prober.attend({"127.0.0.1": attention})
            await async_until(
                lambda: {r.question.name for r in seen.rounds} >= {"gone.com.", "x.safe.com."}
            )
            fast = [r for r in seen.rounds if r.observations[-1].live]
            assert all(r.observations[0].path == "local" for r in fast)
            assert {r.observations[-1].path for r in fast} == {LIVE}
            names = {wire[12:] for wire, _ in server.asked}
            assert len(names) < len(server.asked)

    asyncio.run(story())


def test_every_address_that_is_asked_fast_has_its_largest_answer_by_tcp_too() -> None:
    """A site that lost large ones by TCP is to be found well again."""
    both = "127.0.0.1", "127.0.0.2"
    attention = Attention(paths=frozenset({"local"}), witnesses=("gone.com.",))

    def large(seen: Watching) -> set[str]:
        return {
            done.address
            for done in seen.rounds
            if done.question.kind is Kind.DNSKEY and done.observations[0].tcp
        }

    async def story() -> None:
        async with (
            serving(*(Server(address, healthy) for address in both)) as port,
            probing(*both, port=port, interval=60.0) as seen,
        ):
            seen.prober.attend(dict.fromkeys(both, attention))
            await async_until(lambda: large(seen) == set(both), within=30)

    asyncio.run(story())


def test_many_silent_questions_hold_a_bounded_number_of_sockets() -> None:
    async def story() -> None:
        server = Server("127.0.0.1", silent)
        async with serving(server) as port, probing("127.0.0.1", port=port, patience=0.2) as seen:
            seen.prober.attend({"127.0.0.1": Attention(paths=frozenset({"local"}))})
            most = 0
            while len(seen.rounds) < 40:
                await asyncio.sleep(0.01)
                most = max(most, len(seen.prober._rounds))
            assert 2 <= most <= 0.2 / 0.02 + 2

    asyncio.run(story())


def test_ending_it_leaves_no_socket_open() -> None:
    async def story() -> None:
        async with serving(Server("127.0.0.1", silent)) as port:
            async with probing("127.0.0.1", port=port, patience=30) as watching:
                await async_until(lambda: watching.prober._rounds)
                inquiry = next(iter(watching.prober._rounds.values())).queries["local"]
                assert inquiry._socket is not None
            assert inquiry._socket is None

    asyncio.run(story())


def test_targets_and_paths_that_cannot_be_are_refused() -> None:
    keys = KeyStore([], {}, [], signatures=Signatures())
    target = Target(upstream="x", nameserver="a.", address="127.0.0.1", family=Family.IPV4)
    pace = Pace(interval=1, fast_interval=0.1, timeout=1)

    def prober(targets: Sequence[Target], paths: Sequence[Path]) -> Prober:
        return Prober(
            targets, [Upstream()], paths, pace, keys=keys, signatures=Signatures(), deliver=print
        )

    with pytest.raises(ValueError, match="unknown upstreams: x"):
        prober([target], LOCAL_ONLY)
    with pytest.raises(ValueError, match="live"):
        prober([], [Path(name="live")])


def _unused_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])


def _may_mark() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, 0x5354)
        except PermissionError:
            return False
    return True


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
def test_a_paths_mark_is_on_every_socket_or_the_answer_is_ours(tcp: bool) -> None:
    async def story() -> None:
        async with serving(Server("127.0.0.1", silent)) as port:
            replies: list[Reply] = []
            inquiry = Query(
                query("com.", "SOA"),
                7,
                "127.0.0.1",
                done=replies.append,
                timeout=5,
                port=port,
                mark=0x5354,
                tcp=tcp,
            )
            if _may_mark():
                assert inquiry._socket is not None
                assert inquiry._socket.getsockopt(socket.SOL_SOCKET, SO_MARK) == 0x5354
                inquiry.cancel()
            else:
                assert [(reply.ours, reply.reached) for reply in replies] == [(True, False)]

    asyncio.run(story())


# --- whose packets ----------------------------------------------------------------------------


def test_rounds_take_the_sources_in_turns_and_say_which_was_whose() -> None:
    sources = [Source(address="127.0.0.7"), Source(address="127.0.0.8")]
    came: list[str] = []

    def respond(wire: bytes, _tcp: bool) -> Iterable[bytes]:
        yield COM.respond(wire)

    async def story() -> list[Round]:
        server = Server("127.0.0.1", respond)
        async with (
            serving(server) as port,
            probing("127.0.0.1", port=port, sources=sources) as watching,
        ):
            await async_until(lambda: len(watching.rounds) >= 12)
            came.extend(server.peers)
            return watching.rounds[:12]

    rounds = asyncio.run(story())
    told = [one.source for item in rounds for one in item.observations]
    assert told in (["127.0.0.8", "127.0.0.7"] * 6, ["127.0.0.7", "127.0.0.8"] * 6)
    assert {one.outcome for item in rounds for one in item.observations} == {Outcome.SECURE}
    assert set(came) == {"127.0.0.7", "127.0.0.8"}


def test_a_source_that_this_host_does_not_have_is_an_error_of_its_own() -> None:
    async def story() -> Observation:
        async with (
            serving(Server("127.0.0.1", healthy)) as port,
            probing("127.0.0.1", port=port, sources=[Source(address="192.0.2.53")]) as watching,
        ):
            return await watching.first(anything)

    seen = asyncio.run(story())
    assert seen.outcome is Outcome.LOCAL_ERROR
    assert seen.source == "192.0.2.53"


def test_an_interface_that_is_not_there_is_an_error_of_its_own() -> None:
    async def story() -> Observation:
        source = Source(address="127.0.0.1", interface="nowhere0")
        async with (
            serving(Server("127.0.0.1", healthy)) as port,
            probing("127.0.0.1", port=port, sources=[source]) as watching,
        ):
            return await watching.first(anything)

    seen = asyncio.run(story())
    assert seen.outcome is Outcome.LOCAL_ERROR
    assert seen.source == "127.0.0.1@nowhere0"


def test_a_path_with_a_source_of_its_own_is_asked_from_that() -> None:
    paths = [Path(name=LOCAL), Path(name="pao", pin=ProbePin(ipv4="127.0.0.9"))]

    async def story() -> Round:
        async with (
            serving(Server("127.0.0.1", healthy)) as port,
            probing(
                "127.0.0.1", port=port, paths=paths, sources=[Source(address="127.0.0.7")]
            ) as watching,
        ):
            await async_until(lambda: len(watching.rounds) >= 1)
            return watching.rounds[0]

    item = asyncio.run(story())
    assert [one.source for one in item.observations] == ["127.0.0.7", "127.0.0.9"]


def test_tcp_is_tried_once_datagrams_came_and_its_absence_says_nothing_of_the_answers() -> None:
    async def story() -> list[Observation]:
        async with (
            serving(Server("127.0.0.1", healthy), tcp=False) as port,
            probing("127.0.0.1", port=port, patience=0.1) as watching,
        ):
            await async_until(lambda: sum(o.tcp for o in watching.observations) >= 4)
            return list(watching.observations)

    seen = asyncio.run(story())
    assert not seen[0].tcp, "the first one is as any resolver's"
    assert {o.outcome for o in seen if not o.tcp} == {Outcome.SECURE}
    assert {o.judged for o in seen if o.tcp} == {False}
    assert {o.verdict for o in seen if o.tcp} == {Verdict.NOTHING}


def test_most_rounds_go_by_udp_and_tcp_is_seen_to_come_back() -> None:
    async def story() -> list[Observation]:
        async with (
            serving(Server("127.0.0.1", healthy)) as port,
            probing("127.0.0.1", port=port, interval=0.02) as watching,
        ):
            await async_until(lambda: len(watching.observations) >= 60)
            return watching.observations[:60]

    seen = asyncio.run(story())
    assert 4 <= sum(one.tcp for one in seen) <= 14
    assert {one.outcome for one in seen} == {Outcome.SECURE}
