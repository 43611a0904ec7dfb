"""What others send costs itself: an error over it is counted, told of and dropped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from dnstap_frames import ADDRESS, NOW, frame, payload
from probing import healthy, probing
from samples import Bench, answer, served
from scripted import Server, serving
from speaking import bridge, until
from speaking import runtime as runtime  # noqa: PLC0414 - a fixture
from speaking import speaker as speaker  # noqa: PLC0414
from worlds import World

from steering.act.bgp import link
from steering.act.bgp.actuator import BgpActuator
from steering.act.bgp.output import parse
from steering.agent.loop import _dropped
from steering.index import Index
from steering.judge.edit import Draft
from steering.judge.known.ledger import Ledger
from steering.judge.probes.probe_counts import count
from steering.model import Observation, Outcome, Verdict
from steering.observe.dnssec import response
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnstap import reader
from steering.observe.dnstap.counter import FrameCounter
from steering.observe.dnstap.framestream import CONTENT_TYPE, Control, FrameStream, control
from steering.observe.dnstap.ipc import IpcMessages, read_tally
from steering.observe.dnstap.reader import Reader
from steering.observe.dnstap.tally import Watched
from steering.observe.dnstap.tally_builder import upstreams
from steering.observe.probe import reply_reader
from steering.observe.traffic import classify, verify
from steering.system.unreadable import HERE, LONGEST, OCTETS, QUIET, Unreadable, Where, printable


class OursError(Exception):
    """A bug of this program."""


def dropped(where: Where) -> int:
    return HERE.counts[where]


@pytest.fixture(autouse=True)
def told() -> Iterator[None]:
    """The news of one test are no other's."""
    HERE.news(0.0, quiet=-float("inf"))
    yield
    HERE.news(0.0, quiet=-float("inf"))


def fail(*_: object, **__: object) -> None:
    raise OursError


def test_an_error_ends_the_reading_of_one_message_and_nothing_else() -> None:
    unreadable, read = Unreadable(), []
    for message in (b"good", b"bad", b"good"):
        with unreadable.reading(Where.BGP, message):
            if message == b"bad":
                fail()
            read.append(message)
    assert read == [b"good", b"good"]
    assert unreadable.counts == dict.fromkeys(Where, 0) | {Where.BGP: 1}


def test_what_ends_a_task_or_the_process_on_purpose_is_no_error_of_a_message() -> None:
    for error in (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), HERE.reading(Where.PROBE, b""):
            raise error


def test_the_same_message_ten_thousand_times_is_one_event_a_minute() -> None:
    unreadable, events = Unreadable(), []
    for second_ in range(int(3 * QUIET)):
        for _ in range(100):
            with unreadable.reading(Where.DNSTAP, bytes(65_535)):
                fail()
        events += [_dropped(unread) for unread in unreadable.news(1000.0 + second_)]
    assert len(events) == 3
    assert unreadable.counts["dnstap"] == int(3 * QUIET) * 100
    first, second_event, _ = events
    assert (first.event, first.more["where"], first.more["size"]) == ("unreadable", "dnstap", 65535)
    assert "OursError at test_unreadable:" in first.because
    assert second_event.because.endswith(f"{int(QUIET) * 100} dropped")
    assert first.more["octets"] == bytes(OCTETS).hex()
    assert len(json.dumps(dict(first.more))) < 2 * OCTETS + 100


def test_each_place_is_told_of_apart() -> None:
    unreadable = Unreadable()
    for where in Where:
        with unreadable.reading(where, b""):
            fail()
    assert {unread.where for unread in unreadable.news(0.0)} == set(Where)
    assert unreadable.news(QUIET) == ()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("closed by peer", "closed by peer"),
        ("a\x1b[2Jb\r\n\x9b\u2028", "a\\x1b[2Jb\\r\\n\\x9b\\u2028"),
        ("x" * 9999, "x" * (LONGEST - 1) + "…"),
        ("\0" * 9999, ("\\x00" * LONGEST)[: LONGEST - 1] + "…"),
    ],
)
def test_a_text_of_others_is_shown_short_and_without_control_characters(
    text: str, shown: str
) -> None:
    assert printable(text) == shown


# --- own questions --------------------------------------------------------------------------


def test_an_answer_that_cannot_be_read_closes_its_round_and_counts_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    true, before = response.judge, dropped(Where.PROBE)

    def judge(*words: object, **more: object) -> object:
        if dropped(Where.PROBE) < before + 3:
            fail()
        return true(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(reply_reader, "judge", judge)

    async def story() -> list[Observation]:
        async with (
            serving(Server("127.0.0.1", healthy)) as port,
            probing("127.0.0.1", port=port) as watching,
        ):
            await watching.first(lambda one: one.outcome is Outcome.SECURE)
            assert not watching.prober._rounds or len(watching.prober._rounds) < 5
            return watching.observations

    seen = asyncio.run(story())
    lost = [one for one in seen if one.outcome is Outcome.MALFORMED]
    assert len(lost) == 3
    assert all(one.verdict is Verdict.NOTHING and one.reached for one in lost)
    assert dropped(Where.PROBE) == before + 3


def test_a_dropped_answer_is_no_reason_to_doubt_this_host(tmp_path: Path) -> None:
    """Else an upstream could halt every move by what it answers."""
    from simulation import policy, setup

    from steering.model import Kind, Question, Round

    index = Index.of(setup(tmp_path, policy(letters=2)))
    target = index.targets[0]
    zone = index.policies[0].zones[0]
    lost = reply_reader.NOT_READ
    seen = Observation(
        address=target.address,
        path="local",
        reached=True,
        outcome=lost.outcome,
        judged=lost.judged,
    )
    question = Question(zone=zone, name=zone, rdtype="SOA", kind=Kind.SOA)
    item = Round(address=target.address, question=question, at=1.0, observations=(seen,))
    draft = Draft(Ledger.blank(0.0), index, 0.0, 2.0)
    count(draft, [item])
    known = draft.path(target.address)
    assert seen.verdict is Verdict.NOTHING
    assert not draft.touched, "it counts for or against nobody"
    assert (known.answered, known.streak) == (1.0, 0), "and something came"


# --- the resolvers' traffic -----------------------------------------------------------------


class Failing(FrameCounter):
    """A walker with a bug: it fails over the answers of one name."""

    def _belongs(  # noqa: PLR0917 - as the walker's
        self,
        kind: int,
        who: bytes,
        unanswered: bool,
        message: bytes | None,
        now: int,
        seconds: int,
        moment: int,
    ) -> None:
        if message is not None and b"poison" in message:
            raise OursError
        super()._belongs(kind, who, unanswered, message, now, seconds, moment)


def test_a_frame_that_cannot_be_read_costs_itself_however_the_bytes_are_cut() -> None:
    good, bad = frame(payload(3)), frame(payload(4, message=b"poison"))
    data = control(Control.START, content_type=CONTENT_TYPE) + good + bad + bad + good + bad + good
    for size in (7, 50, len(data)):
        walker = Failing(upstreams({ADDRESS: Watched(zones=frozenset({"com."}))}), 1)
        stream, before = FrameStream(walker), dropped(Where.DNSTAP)
        for at in range(0, len(data), size):
            stream.receive(data[at : at + size], NOW)
        assert (walker.ok, walker.malformed) == (3, 0)
        assert dropped(Where.DNSTAP) == before + 3
        (unread,) = HERE.news(0.0, quiet=0.0)
        assert bytes.fromhex(unread.octets) == bad[4:][:OCTETS]


@pytest.fixture
def reading() -> Iterator[tuple[Reader, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    made = Reader(ours, {})
    yield made, theirs
    made.close()
    ours.close()
    theirs.close()


def test_counts_that_cannot_be_handed_over_are_lost_and_the_next_are_not(
    reading: tuple[Reader, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, agent = reading
    with monkeypatch.context() as patched:
        patched.setattr(reader, "build_tally", fail)
        made._send_tally(1.0)
    made._send_tally(2.0)
    letters = [read_tally(letter) for letter in IpcMessages().receive(agent.recv(1 << 16))]
    assert [tally.ended for tally in letters] == [1.0, 2.0]
    (unread,) = letters[0].unreadable
    assert (unread.where, unread.times) == (Where.DNSTAP, 1)
    assert letters[1].unreadable == ()


def test_a_message_that_cannot_be_looked_at_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    true, before = classify.verify_response, dropped(Where.SECOND_LOOK)

    def look(wire: bytes, *words: object, **more: object) -> object:
        if b"poison" in wire:
            fail()
        return true(wire, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(verify, "verify_response", look)
    heard = Bench().see(b"poison", answer(served(), "nobody.com."), b"poison")
    assert [item.proved for item in heard] == [1]
    assert dropped(Where.SECOND_LOOK) == before + 2


# --- keys, and the speaker ------------------------------------------------------------------


def test_an_answer_about_keys_that_cannot_be_read_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(store: KeyStore, world: World) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(store, "_take", fail)
            await store.refresh("com.")
        assert store.troubles == {"com.": "an answer can't be read"}
        (unread,) = HERE.news(0.0, quiet=0.0)
        assert unread.where is Where.KEYS
        assert b"\x00\x30\x00\x01" in bytes.fromhex(unread.octets), "the DNSKEY answer is shown"
        assert store.wake_at <= world.monotonic + 1
        await store.refresh("com.")
        assert store.keys_for("com.") is not None

    World().play(story)


def test_a_line_of_the_speaker_that_cannot_be_read_says_nothing(
    runtime: Path, speaker: BgpActuator, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dropped(Where.BGP)
    monkeypatch.setattr(link, "parse", lambda line: fail() if "?" in line else parse(line))
    with contextlib.closing(bridge(speaker, runtime)) as peer:
        peer.sendall(b"what?\nexabgp 5.0.1\n")
        until(lambda: speaker.pump() or speaker._sync.version == "5.0.1")  # type: ignore[func-returns-value]
        assert speaker._link.linked
    assert dropped(Where.BGP) == before + 1


def test_a_line_that_cannot_be_taken_in_costs_the_link(
    runtime: Path, speaker: BgpActuator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(bridge(speaker, runtime)) as peer:
        monkeypatch.setattr(speaker._sync, "receive", fail)
        peer.sendall(b"exabgp 5.0.1\n")
        until(lambda: speaker.pump() or not speaker._link.linked)  # type: ignore[func-returns-value]
    assert not speaker._sync.ready


def test_a_line_without_end_costs_the_link_and_no_memory(
    runtime: Path, speaker: BgpActuator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_LONGEST", 1 << 16)
    with contextlib.closing(bridge(speaker, runtime)) as peer:
        peer.settimeout(5)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            peer.setblocking(False)
            sent = 0
            while sent < 1 << 20 and speaker._link.linked:
                with contextlib.suppress(BlockingIOError):
                    sent += peer.send(b"x" * 4096)
                speaker.pump()
        assert not speaker._link.linked
