"""The case of a question's letters: required where it is given back, learnt where it is not."""

from __future__ import annotations

import random

import dns.message
import dns.name
import pytest

from steering.observe.nonce import mixed_case, system_random
from steering.observe.probe.echo import LIMIT, Echo, Likeness, likeness
from steering.observe.query import query

MIXED, SMALL = b"\3cOm\0\0\6\0\1", b"\3com\0\0\6\0\1"


def answer(question: bytes, count: int = 1) -> bytes:
    return b"\0\7\x84\0" + count.to_bytes(2, "big") + bytes(6) + question


def test_letters_alone_change_their_case_each_as_often_as_not() -> None:
    name = dns.name.from_text(r"a1-\065\200zzzzzzzz.COM.").to_wire()
    assert name is not None
    drawn = {mixed_case(name, system_random()) for _ in range(400)}
    assert {one.lower() for one in drawn} == {name.lower()}
    assert len(drawn) > 350
    for at, octet in enumerate(name):
        found = {one[at] for one in drawn}
        assert found == ({octet, octet ^ 0x20} if chr(octet).isalpha() and octet < 128 else {octet})


def test_a_label_as_long_as_a_letters_code_stays_as_long() -> None:
    """A label has at most 63 octets; the codes of letters begin at 65."""
    name = dns.name.from_text(f"{'x' * 63}.{'y' * 33}.{'.'.join('abc')}.").to_wire()
    assert name is not None
    for _ in range(50):
        read, _ = dns.name.from_wire(mixed_case(name, system_random()), 0)
        assert [len(label) for label in read.labels] == [63, 33, 1, 1, 1, 0]


def test_the_root_has_no_letters_and_is_asked_all_the_same() -> None:
    message = dns.message.from_wire(b"\0\1" + query(".", "DNSKEY", rng=random.Random(1)))
    assert message.question[0].to_text() == ". IN DNSKEY"


@pytest.mark.parametrize(
    ("wire", "like"),
    [
        (answer(MIXED), Likeness.SAME),
        (answer(MIXED + b"more"), Likeness.SAME),
        (answer(SMALL), Likeness.OTHER_CASE),
        (answer(b"", 0), Likeness.OTHER_CASE),
        (answer(MIXED, 2), Likeness.ANOTHER),
        (answer(b"\3cOm\0\0\2\0\1"), Likeness.ANOTHER),
        (answer(b"\3nEt\0\0\6\0\1"), Likeness.ANOTHER),
        (answer(MIXED[:-1]), Likeness.ANOTHER),
        (answer(b""), Likeness.ANOTHER),
    ],
)
def test_what_the_question_section_has_to_do_with_the_question(wire: bytes, like: Likeness) -> None:
    assert likeness(wire, MIXED) is like


def test_the_type_is_no_letter() -> None:
    """HTTPS is 65, the code of A; TYPE97 that of a."""
    https, other = b"\3com\0\0\x41\0\1", b"\3com\0\0\x61\0\1"
    assert likeness(answer(other), https) is Likeness.ANOTHER


def test_a_server_that_never_gave_the_case_back_is_heard_from_its_first_answer_on() -> None:
    echo = Echo()
    assert [echo.other() for _ in range(10)] == [True] * 10
    assert not echo.required


def test_one_that_did_is_not_believed_until_three_questions_brought_nothing_else() -> None:
    echo = Echo()
    echo.same(MIXED)
    assert [echo.other() for _ in range(4)] == [False, False, True, True]
    assert not echo.required


def test_a_name_in_one_case_shows_nothing() -> None:
    echo = Echo()
    for plain in (SMALL, b"\3COM\0\0\6\0\1", b"\0\0\6\0\1"):
        echo.same(plain)
    assert echo.other()


def test_the_case_is_required_again_only_after_many_right_answers() -> None:
    echo = Echo()
    for _ in range(10):
        echo.other()
    times = 0
    while not echo.required:
        echo.same(MIXED)
        times += 1
    assert 100 < times < 1000
    assert echo.other(), "and one more is enough to know it again"


def test_servers_of_which_some_do_not_give_it_back_are_not_taken_for_silent() -> None:
    """One in fifty is enough for that: a forger would have to hit port and id as often."""
    echo, rng, lost = Echo(), random.Random(5), 0
    for _ in range(20_000):
        if rng.random() < 0.02:
            lost += echo.required and not echo.other()
        else:
            echo.same(MIXED)
    assert lost <= 12
    assert LIMIT == 3
