"""Health of one (address, path): one total table, state by signal.

Each key gets one signal a turn, the weightiest that applies (see `ledger`). The table is
the whole logic; the docs draw their diagram from it.
"""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

from steering.model import Health


class Signal(enum.IntEnum):
    """What this turn's evidence says of one key, weightiest last."""

    NOTHING = 0  # no news
    UNSEEN = 1  # nothing judged for a while, or silence that other paths share
    GOOD = 2  # answers well
    FRESH = 3  # no longer late
    LATE = 4  # outdated against the other paths, confirmed over time
    FULL = 5  # a bucket is full, or three silences in a row while another path answers
    REJECTED = 6  # 256 pairs showed no difference between the paths
    CONFIRMED = 7  # bad here, good there
    MENDED = 8  # the recovery bucket is empty and the hold is over


_U, _H, _S, _L, _F = Health.UNKNOWN, Health.HEALTHY, Health.SUSPECT, Health.STALE, Health.FAILING

TABLE: dict[Health, dict[Signal, Health]] = {
    # fmt: off
    #    NOTHING  UNSEEN  GOOD  FRESH  LATE  FULL  REJECTED  CONFIRMED  MENDED
    _U: dict(zip(Signal, (_U, _U, _H, _U, _L, _S, _U, _F, _H), strict=True)),
    _H: dict(zip(Signal, (_H, _U, _H, _H, _L, _S, _H, _F, _H), strict=True)),
    _S: dict(zip(Signal, (_S, _U, _S, _S, _S, _S, _U, _F, _H), strict=True)),
    _L: dict(zip(Signal, (_L, _L, _L, _H, _L, _S, _L, _F, _H), strict=True)),
    # Only proven recovery ends a proven fault: not silence, not a good answer or two.
    _F: dict(zip(Signal, (_F, _F, _F, _F, _F, _F, _F, _F, _H), strict=True)),
    # fmt: on
}

_CODES: NDArray[np.int8] = np.array(
    [[TABLE[state][signal] for signal in Signal] for state in Health], dtype=np.int8
)


def advance(health: NDArray[np.int8], signals: NDArray[np.int8]) -> NDArray[np.int8]:
    """The next health of every key; both arrays of one shape."""
    return _CODES[health, signals]


def diagram() -> str:
    """The table as Graphviz, for the docs."""
    arrows: dict[tuple[Health, Health], list[str]] = {}
    for state, row in TABLE.items():
        for signal, to in row.items():
            if to is not state:
                arrows.setdefault((state, to), []).append(signal.name.lower())
    lines = [f'  {a.word} -> {b.word} [label="{", ".join(s)}"];' for (a, b), s in arrows.items()]
    return "\n".join(["digraph health {", *lines, "}"])
