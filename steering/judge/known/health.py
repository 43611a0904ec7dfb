"""Health of one (address, path): one total table, state by signal.

Each key gets one signal a turn, the one with the greatest weight that applies (`signals`). The
docs draw their diagram from the table. `transitions.adopt` alone sets a health without it.
"""

from __future__ import annotations

import enum

from steering.model import Health


class Signal(enum.IntEnum):
    """This turn's evidence about one key, in order of weight."""

    NOTHING = 0  # no news
    UNSEEN = 1  # nothing judged for a while, or a silence that counts against no path
    GOOD = 2  # answers well
    LATE = 3  # outdated against the other paths, confirmed over time
    FULL = 4  # a bucket is full, or three silences in a row while another path answers
    REJECTED = 5  # 256 pairs showed no difference between the paths
    CONFIRMED = 6  # bad here, good there
    MENDED = 7  # the recovery bucket is empty and the hold is over


_U, _H, _S, _L, _F = Health.UNKNOWN, Health.HEALTHY, Health.SUSPECT, Health.STALE, Health.FAILING

# fmt: off
_ROWS: dict[Health, tuple[Health, ...]] = {
    #  NOTHING  UNSEEN  GOOD  LATE  FULL  REJECTED  CONFIRMED  MENDED
    _U: (_U,     _U,     _H,   _L,   _S,   _U,       _F,        _H),
    _H: (_H,     _U,     _H,   _L,   _S,   _H,       _F,        _H),
    _S: (_S,     _U,     _S,   _S,   _S,   _U,       _F,        _H),
    # Only a recovery ends a confirmed fault: not silence, not one or two good answers.
    _L: (_L,     _L,     _L,   _L,   _S,   _L,       _F,        _H),
    _F: (_F,     _F,     _F,   _F,   _F,   _F,       _F,        _H),
}
# fmt: on

TABLE: dict[Health, dict[Signal, Health]] = {
    state: dict(zip(Signal, row, strict=True)) for state, row in _ROWS.items()
}


def advance(health: Health, signal: Signal) -> Health:
    """The next health of a path."""
    return TABLE[health][signal]


def diagram() -> str:
    """The table as Graphviz, for the docs."""
    arrows: dict[tuple[Health, Health], list[str]] = {}
    for state, row in TABLE.items():
        for signal, to in row.items():
            if to is not state:
                arrows.setdefault((state, to), []).append(signal.name.lower())
    lines = [f'  {a.word} -> {b.word} [label="{", ".join(s)}"];' for (a, b), s in arrows.items()]
    return "\n".join(["digraph health {", *lines, "}"])
