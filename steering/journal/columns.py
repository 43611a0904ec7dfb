"""The form of a batch of turns, by columns: the values of one field over many turns together.

A batch is a list of similar JSON values. Each place in them (`facts.rounds[].at`) gets a column
with the kinds of its values and the values. A column compresses well: a repeated text is a number;
a number is an integer if possible, less the smallest one or the one before, and all have the same
length and are stored octet by octet. Then each column is deflated with its own code. The result is
a quarter of the size of deflated text. `packing` writes it, and `unpacking` reads it.
"""

from __future__ import annotations

import struct
from typing import Final

MAGIC: Final = b"\x03"
"""The first octet; deflated text begins with another one (RFC 1950: 0x78)."""
HEAD: Final = struct.Struct(">I")
"""The length of the description of all columns, which their octets follow."""
SCALES: Final = (0, 3, 4, 5, 6)
"""The numbers of decimals that are tried for floats."""
SAME, NULL, TRUE, FALSE, INT, FLOAT, TEXT, LIST, DICT = "=ntfidslo"
"""The kinds of values; the first one is the list or mapping before, once more."""
