"""What nameservers of a simulation answer: the same always, or badly over the local path."""

from __future__ import annotations

from simulation import Answer, Ask

from steering.model import Outcome

FAULT = 1020.0
GOOD, EXPIRED, TIMEOUT = Outcome.SECURE, Outcome.EXPIRED, Outcome.TIMEOUT


def bad_here(outcome: Outcome = EXPIRED, until: float = 1e9) -> Answer:
    return lambda ask: outcome if ask.local and FAULT <= ask.now < until else GOOD


def always(outcome: Outcome) -> Answer:
    return lambda _: outcome


def site_fails(begins: float) -> Answer:
    """Bad here from the fault on, and at fra, which goes first, some time later."""
    return lambda ask: (
        EXPIRED
        if (ask.local and ask.now >= FAULT) or (ask.path == "fra" and ask.now >= begins)
        else GOOD
    )


def comes_and_goes(ask: Ask) -> Outcome:
    return EXPIRED if ask.local and ask.now >= FAULT and ask.now % 120 < 60 else GOOD


def thirteen_percent(ask: Ask) -> Outcome:
    return EXPIRED if ask.local and ask.now >= FAULT and ask.unlucky(0.13) else GOOD


DAY = 150.0
"""A day of the week below, compressed."""


def week(ask: Ask) -> Outcome:
    """Each day another fault, and every night all is well."""
    day, hour = divmod(ask.now - FAULT, DAY)
    bad: dict[int, bool | Outcome] = {
        0: ask.local,
        1: ask.local and ask.unlucky(0.13),
        2: ask.local and ask.v6,
        3: ask.path != "pao",
        4: True,
        5: Outcome.TIMEOUT if ask.local else False,
        6: ask.local and hour % 40 < 20,
    }
    found = bad.get(int(day), False) if 0 <= hour < DAY / 2 else False
    return found if isinstance(found, Outcome) else EXPIRED if found else GOOD


STORIES: dict[str, tuple[Answer, float]] = {
    "a fault that ends": (bad_here(until=FAULT + 60), 160),
    "a site that turns bad": (site_fails(FAULT + 40), 160),
    "all paths bad": (always(EXPIRED), 60),
    "a fault that comes and goes": (comes_and_goes, 600),
    "thirteen percent": (thirteen_percent, 120),
    "a week": (week, 7 * DAY + 60),
    "silence": (bad_here(Outcome.TIMEOUT, until=FAULT + 60), 160),
}
