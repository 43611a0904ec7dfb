"""The random parts of a question, which an attacker off the path would have to guess.

An answer counts if it comes to the right port with the right id, name and letter case. Every
nameserver that is asked sees the names. So a generator whose outputs show its state would reveal
all later ids: Python's own (a Mersenne Twister) after some four hundred questions. Therefore ids,
labels and cases come from the system's generator (RFC 5452 4.2, RFC 4086). The kernel draws source
ports and TCP sequence numbers.
"""

from __future__ import annotations

import random
import string
from typing import Final

LABEL: Final = 14
"""Letters in a random label: one of 32^14 names, practically never a registered one."""
_ALPHABET: Final = (string.ascii_lowercase + "234567").encode() * 8
"""A letter for each octet value; all letters equally often."""
_CASE_BIT: Final = bytes(0x20 if chr(octet) in string.ascii_letters else 0 for octet in range(256))


def system_random() -> random.Random:
    """A generator without a state of its own: the kernel makes each draw."""
    return random.SystemRandom()


def random_label(rng: random.Random) -> str:
    """A label that is registered nowhere, made by a single draw."""
    return rng.randbytes(LABEL).translate(_ALPHABET).decode("ascii")


def mixed_case(name: bytes, rng: random.Random) -> bytes:
    """A name in wire format with a random case for each letter (draft-vixie-dnsext-dns0x20).

    A length octet is at most 63, so it is never taken for a letter.
    """
    drawn = rng.getrandbits(8 * len(name)) & int.from_bytes(name.translate(_CASE_BIT), "big")
    return (int.from_bytes(name, "big") ^ drawn).to_bytes(len(name), "big")
