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


def unforeseen() -> random.Random:
    """A generator without a state: each draw is the kernel's."""
    return random.SystemRandom()


def random_label(rng: random.Random) -> str:
    """A label that nobody has registered, by a single draw."""
    return rng.randbytes(LABEL).translate(_ALPHABET).decode("ascii")
