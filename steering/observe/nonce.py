"""What a forger off the path would have to guess, and where it is drawn from.

An answer counts for a question if it comes to the right port with the right id, name and
letters. Names of questions are seen by every nameserver that is asked, so a generator whose
state shows in its outputs would foretell all later ids: Python's own (a Mersenne Twister) after
some four hundred questions. All of it is drawn from the system's generator (RFC 5452 4.2,
RFC 4086); source ports and TCP's numbers the kernel draws.
"""

from __future__ import annotations

import random
import string
from typing import Final

LABEL: Final = 14
"""Letters in a random label: 32^14 names, none of them registered."""
_ALPHABET: Final = (string.ascii_lowercase + "234567").encode() * 8
"""A letter for each octet, each equally often."""
_CASE_BIT: Final = bytes(0x20 if chr(octet) in string.ascii_letters else 0 for octet in range(256))


def unforeseen() -> random.Random:
    """A generator without a state: each draw is the kernel's."""
    return random.SystemRandom()


def random_label(rng: random.Random) -> str:
    """A label that nobody has registered, by a single draw."""
    return rng.randbytes(LABEL).translate(_ALPHABET).decode("ascii")


def mixed_case(name: bytes, rng: random.Random) -> bytes:
    """A name in wire format with each letter's case drawn (draft-vixie-dnsext-dns0x20).

    A label's length is at most 63, so it is never taken for a letter.
    """
    drawn = rng.getrandbits(8 * len(name)) & int.from_bytes(name.translate(_CASE_BIT), "big")
    return (int.from_bytes(name, "big") ^ drawn).to_bytes(len(name), "big")
