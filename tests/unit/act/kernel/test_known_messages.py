"""What is decoded of a dump: each message once while it is listed."""

from __future__ import annotations

from steering.act.kernel.state import _decoded


class Decoder:
    """Notes what it was asked to decode."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, body: bytes) -> str:
        self.asked.append(body)
        return body.decode()


def test_what_is_listed_again_is_not_decoded_again() -> None:
    known: dict[bytes, str] = {}
    decode = Decoder()
    assert _decoded(known, [b"a", b"b"], decode) == ["a", "b"]
    assert _decoded(known, [b"b", b"c"], decode) == ["b", "c"]
    assert decode.asked == [b"a", b"b", b"c"]


def test_what_is_listed_no_more_is_forgotten() -> None:
    """Otherwise a program that adds and removes rules all day would fill the memory."""
    known: dict[bytes, str] = {}
    for number in range(10):
        _decoded(known, [str(number).encode()], Decoder())
    assert known == {b"9": "9"}


def test_what_is_listed_twice_is_there_twice() -> None:
    """A second rule like ours is surplus, and removed."""
    assert _decoded({}, [b"a", b"a"], Decoder()) == ["a", "a"]
