"""Packets to a probe's socket that are no answer: passed over and counted, never believed."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
from collections.abc import Callable, Iterable, Iterator

import dns.flags
import dns.message
import dns.rcode
import pytest
from probing import COM, Watching, healthy, probing, question
from scripted import Respond, Server, serving

from steering.lab.waiting import async_until
from steering.model import Family, Outcome
from steering.observe.dnssec.keys.chain import Resolvers
from steering.observe.probe.echo import Echo
from steering.observe.probe.prober import Path
from steering.observe.query import MOST_STRAYS, Query, Reply, query
from steering.observe.strays import SURE, Stray, Strays


def small(wire: bytes) -> bytes:
    """What a server answers that writes the question anew."""
    return COM.respond(wire[:12] + question(wire).lower() + wire[12 + len(question(wire)) :])


def forged(wire: bytes) -> bytes:
    """What a forger would who has the port and the id: an error, in letters that he guessed."""
    answer = dns.message.make_response(dns.message.from_wire(small(wire)[:2] + wire[2:]))
    answer.set_rcode(dns.rcode.REFUSED)
    made = answer.to_wire()
    swapped = bytes(c ^ 0x20 if chr(c).isalpha() and c < 128 else c for c in question(wire)[:-4])
    return made[:12] + swapped + made[12 + len(swapped) :]


def seen(respond: Respond, done: Callable[[Watching], object]) -> tuple[set[Outcome], Strays]:
    """The outcomes of a server that answers so, until it is enough; and what was passed over."""

    async def story() -> tuple[set[Outcome], Strays]:
        strays = Strays()
        async with (
            serving(Server("127.0.0.1", respond)) as port,
            probing("127.0.0.1", port=port, patience=1.0, strays=strays) as watching,
        ):
            await async_until(lambda: done(watching), within=20)
            # What comes by a stream needs no case to be true (`ask`).
            return {one.outcome for one in watching.observations if not one.tcp}, strays

    return asyncio.run(story())


def rounds(number: int) -> Callable[[Watching], bool]:
    return lambda watching: len(watching.rounds) >= number


def test_questions_go_out_in_a_case_that_is_drawn_and_equal_over_all_paths_of_a_round() -> None:
    async def story() -> None:
        server = Server("127.0.0.1", healthy)
        paths = (Path(name="local"), Path(name="pao"))
        async with (
            serving(server) as port,
            probing("127.0.0.1", port=port, paths=paths) as watching,
        ):
            await async_until(lambda: len(watching.rounds) >= 12)
            assert {one.outcome for one in watching.observations} == {Outcome.SECURE}
        asked = [question(wire) for wire, _ in server.asked]
        assert len(set(asked)) <= len(asked) / 2 + 1
        assert any(name[:-4] != name[:-4].lower() for name in asked)

    asyncio.run(story())


def test_nothing_that_is_told_carries_the_case_that_was_drawn() -> None:
    """The owner of a record is often a pointer to the question's name (RFC 1035 4.1.4)."""

    async def story() -> None:
        server = Server("127.0.0.1", lambda wire, _: [stripped(wire)])
        async with serving(server) as port, probing("127.0.0.1", port=port) as watching:
            await async_until(
                lambda: len({r.question.kind for r in watching.rounds}) >= 3, within=20
            )
            told = [
                (one.detail, *((one.evidence.owner, one.evidence.detail) if one.evidence else ()))
                for one in watching.observations
                if one.outcome is Outcome.UNSIGNED
            ]
            assert len(told) >= 2
            for words in told:
                names = [w for text in words for w in text.split() if w.endswith(("com.", "com."))]
                assert names == [name.lower() for name in names]

    asyncio.run(story())


def stripped(wire: bytes) -> bytes:
    """The answer without a signature over anything but keys."""
    message = dns.message.from_wire(COM.respond(wire))
    for section in (message.answer, message.authority):
        section[:] = [r for r in section if not (r.rdtype == 46 and r.covers != 48)]
    return message.to_wire()


def test_a_forged_answer_in_another_case_is_passed_over_and_the_true_one_taken() -> None:
    def respond(wire: bytes, tcp: bool) -> Iterator[bytes]:
        yield forged(wire)
        yield COM.respond(wire)

    outcomes, strays = seen(respond, rounds(18))
    assert outcomes == {Outcome.SECURE}
    assert strays.counts["local", Stray.CASE] >= 10


def test_a_forger_who_is_first_each_time_teaches_nothing() -> None:
    """Where the true answer comes as well, the case stays required."""
    echo = Echo()

    async def story() -> None:
        def respond(wire: bytes, tcp: bool) -> Iterator[bytes]:
            yield forged(wire)
            yield COM.respond(wire)

        async with serving(Server("127.0.0.1", respond)) as port:
            for _ in range(20):
                reply = await ask(port, echo)
                assert reply.wire is not None
                assert reply.wire[3] & 15 == dns.rcode.NXDOMAIN
        assert echo.required

    asyncio.run(story())


def test_where_the_case_came_back_before_a_forged_answer_alone_is_silence() -> None:
    echo = Echo()
    answers: list[Callable[[bytes], bytes]] = [*[COM.respond] * 4, forged]

    async def story() -> None:
        server = Server("127.0.0.1", lambda wire, _: [answers.pop(0)(wire)])
        async with serving(server) as port:
            for _ in range(4):
                assert (await ask(port, echo)).wire is not None
            reply = await ask(port, echo)
            assert (reply.wire, reply.reached) == (None, True)
            assert reply.detail == "an answer in another case than the question's"

    asyncio.run(story())


def test_a_server_that_writes_all_letters_small_loses_no_answer_and_soon_no_time() -> None:
    async def story() -> None:
        echo = Echo()
        async with serving(Server("127.0.0.1", lambda wire, _: [small(wire)])) as port:
            for _ in range(8):
                reply = await ask(port, echo)
                assert reply.wire is not None
                assert reply.rtt is not None
                assert reply.rtt < 0.8, "the time it took, and not the time it was kept"
            assert not echo.required

    asyncio.run(story())
    outcomes, _ = seen(lambda wire, _: [small(wire)], rounds(15))
    assert outcomes == {Outcome.SECURE}


def seen_small(number: int) -> Respond:
    """Of so many servers behind one address, one writes all letters small."""
    rng = random.Random(number)

    def respond(wire: bytes, tcp: bool) -> Iterable[bytes]:
        return [small(wire) if rng.randrange(number) == 0 else COM.respond(wire)]

    return respond


def test_servers_of_which_some_write_them_small_come_to_be_heard_in_full() -> None:
    async def story() -> None:
        echo, silent = Echo(), 0
        async with serving(Server("127.0.0.1", seen_small(3))) as port:
            for _ in range(40):
                silent += (await ask(port, echo)).wire is None
        assert silent <= 3

    asyncio.run(story())


def test_an_answer_to_another_question_is_silence() -> None:
    """RFC 5452 9.1: who knows the port and the id alone may have sent it."""

    def respond(wire: bytes, tcp: bool) -> Iterable[bytes]:
        return [healthy_of(wire, b"\3nEt\0\0\6\0\1")]

    outcomes, strays = seen(respond, rounds(3))
    assert outcomes == {Outcome.TIMEOUT}
    assert strays.counts["local", Stray.QUESTION] >= 3


def healthy_of(wire: bytes, asked: bytes) -> bytes:
    return wire[:2] + b"\x84\0\0\1\0\0\0\0\0\0" + asked


def test_an_error_without_its_question_is_what_the_server_says() -> None:
    """Some leave it out (RFC 5452 says nothing of them); no server here has shown its case."""

    def respond(wire: bytes, tcp: bool) -> Iterable[bytes]:
        return [wire[:2] + b"\x80\5" + bytes(8)]

    outcomes, _ = seen(respond, rounds(5))
    assert outcomes == {Outcome.REFUSED}


def test_after_so_many_strays_the_question_goes_by_tcp() -> None:
    def respond(wire: bytes, tcp: bool) -> Iterator[bytes]:
        for number in range(0 if tcp else 200):
            yield (int.from_bytes(wire[:2], "big") ^ (number + 1)).to_bytes(2, "big") + wire[2:]
        if tcp:
            yield COM.respond(wire)

    async def story() -> None:
        strays: list[Stray] = []
        server = Server("127.0.0.1", respond)
        async with serving(server) as port:
            reply = await ask(port, Echo(), on_stray=strays.append)
        assert reply.wire is not None
        assert reply.over_tcp
        assert strays == [Stray.ID] * MOST_STRAYS
        assert [tcp for _, tcp in server.asked] == [False, True]

    asyncio.run(story())


def test_a_flood_at_one_socket_holds_up_no_other() -> None:
    """While it lasts, another question is asked and answered within its time."""

    async def story() -> None:
        flooding = Server("127.0.0.1", lambda *_: [b"\0" * 40] * 4000)
        fine = Server("127.0.0.2", healthy)
        async with serving(flooding, fine) as port, asyncio.timeout(20):
            loop, late = asyncio.get_running_loop(), []
            flooded = [asyncio.ensure_future(ask(port, Echo())) for _ in range(4)]
            for _ in range(30):
                began = loop.time()
                reply = await ask(port, Echo(), address="127.0.0.2", patience=5.0)
                late.append(loop.time() - began)
                assert reply.wire is not None
            await asyncio.gather(*flooded)
            assert sorted(late)[15] < 0.5

    asyncio.run(story())


def test_a_resolver_is_asked_in_a_case_that_is_drawn() -> None:
    async def story() -> None:
        server = Server("127.0.0.1", lambda wire, _: [forged(wire), COM.respond(wire)])
        async with serving(server) as port:
            resolvers = Resolvers(["127.0.0.1"], port=port)
            for _ in range(6):
                message = await resolvers.ask("com.", "DNSKEY")
                assert message.rcode() == dns.rcode.NOERROR
        assert len({question(wire) for wire, _ in server.asked}) > 1

    asyncio.run(story())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_source_ports_are_drawn_too(address: str) -> None:
    """The kernel draws them: no two questions in a row have neighbouring ones for long."""

    async def story() -> None:
        server = Server(address, healthy)
        async with serving(server) as port:
            ports = []
            for _ in range(40):
                await ask(port, Echo(), address=address)
                ports.append(max(server.ports))
                server.ports.clear()
        steps = [abs(a - b) for a, b in itertools.pairwise(ports)]
        assert sum(step > 64 for step in steps) > 30
        assert max(ports) - min(ports) > 8000

    asyncio.run(story())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_answer_by_another_link_is_passed_over_and_told(address: str) -> None:
    async def story() -> None:
        family, strays = Family.of(address), Strays()
        loopback = socket.if_nametoindex("lo")
        asked = {"pao": loopback + 4000, "fra": loopback}
        paths = (Path(name="local"), Path(name="pao"), Path(name="fra"))
        async with (
            serving(Server(address, healthy), tcp=False) as port,
            probing(
                address,
                port=port,
                paths=paths,
                patience=0.15,
                link=lambda path, of: asked.get(path) if of is family else None,
                strays=strays,
            ) as watching,
        ):
            await async_until(lambda: strays.trouble, within=20)
            outcomes = {
                name: {o.outcome for o in watching.observations if o.path == name and not o.tcp}
                for name in ("local", "pao", "fra")
            }
            good = {Outcome.SECURE}
            assert outcomes == {"local": good, "fra": good, "pao": {Outcome.TIMEOUT}}
            pao = [one for one in watching.observations if one.path == "pao"]
            words = f"an answer came in by lo, not by link {loopback + 4000}"
            assert words in {one.detail for one in pao}
            assert strays.counts["pao", Stray.LINK] >= SURE
            assert {path for path, _ in strays.counts} == {"pao"}
            assert strays.trouble.startswith(f"pao ({family}): answers come in by lo, not by")
            assert "`return: any`" in strays.trouble

    asyncio.run(story())


def test_a_path_whose_answers_may_return_by_any_link_takes_them() -> None:
    async def story() -> None:
        strays = Strays()
        async with (
            serving(Server("127.0.0.1", healthy)) as port,
            probing(
                "127.0.0.1",
                port=port,
                paths=(Path(name="local"), Path(name="pao", any_return=True)),
                link=lambda path, _: 4001 if path == "pao" else None,
                strays=strays,
            ) as watching,
        ):
            await async_until(lambda: len(watching.rounds) >= 5)
            assert {one.outcome for one in watching.observations} == {Outcome.SECURE}
            assert not strays.counts

    asyncio.run(story())


def test_an_answer_by_the_right_link_ends_the_alarm_and_so_does_the_paths_end() -> None:
    strays = Strays()
    for _ in range(SURE - 1):
        strays.end("pao", "ipv4", "eth0, not by wg0")
    strays.end("pao", "ipv6", "")
    assert not strays.trouble
    strays.end("pao", "ipv4", "eth0, not by wg0")
    assert strays.trouble
    strays.keep(["local", "pao"])
    assert strays.trouble
    strays.keep(["local"])
    assert not strays.trouble
    for _ in range(SURE):
        strays.end("pao", "ipv4", "eth0, not by wg0")
    strays.end("pao", "ipv4", "")
    assert not strays.trouble


async def ask(
    port: int,
    echo: Echo,
    *,
    address: str = "127.0.0.1",
    patience: float = 1.0,
    on_stray: Callable[[Stray], None] | None = None,
) -> Reply:
    """One question for a name of many letters."""
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    inquiry = Query(
        query("qwertzuiopasdfgh.com.", "A", rng=random.SystemRandom()),
        random.SystemRandom().getrandbits(16),
        address,
        done=answer.set_result,
        timeout=patience,
        port=port,
        echo=echo,
        on_stray=on_stray,
    )
    try:
        return await answer
    finally:
        inquiry.cancel()
