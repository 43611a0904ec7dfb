"""Why, in one sentence with the numbers: for the events, the status and `explain`."""

from __future__ import annotations

from steering.decide.crowd import CROWD
from steering.decide.rules import BY_NUMBER
from steering.decide.together import SETTLE
from steering.judge.confirm import CONFIRM_AT
from steering.judge.ledger import SILENCES, reason
from steering.model import Health
from steering.world import World


def because(world: World, a: int) -> str:
    """Why the rule in force for the address in row `a` decided as it did."""
    rule = BY_NUMBER.get(int(world.rule[a]))
    local = reason(world.ledger, world.layout, a, 0, world.now)
    if rule is None:
        return "no turn yet"
    if rule.name == "off":
        return "switched off by `steering off`"
    if rule.name == "clock":
        return "most upstreams answer with signatures out of date on every path: " + local
    if rule.name == "self":
        if world.ledger.streak[a, 0]:
            return f"nothing came back over the local path since: {local}"
        return f"{CROWD} or more unrelated operators went bad here at once"
    if rule.name == "healthy":
        return f"local: {local}"
    if rule.name == "everywhere":
        return f"every path is bad; local: {local}"
    if rule.name == "budget":
        return f"the policy steers at most {world.layout.policy(a).steer.at_most} of its addresses"
    if rule.name == "steer":
        site = world.layout.paths[world.plan[a]]
        there = reason(world.ledger, world.layout, a, int(world.plan[a]), world.now)
        why = local if world.ledger.health[a, 0] >= Health.SUSPECT else "its group is breached"
        return f"local: {why}; {site}: {there}"
    return _unproven(world, a, local)


def _unproven(world: World, a: int, local: str) -> str:
    health = Health(int(world.ledger.health[a, 0]))
    if health is Health.SUSPECT:
        trial = world.ledger.trials.get(a)
        if trial is None:
            return f"suspect, and no remote path is proven good to compare with; local: {local}"
        return f"suspect, on trial ({trial.score:+d} of +{CONFIRM_AT}); local: {local}"
    if not world.breached[a]:
        waits = "confirmed just now, waiting for the other operators to be heard; "
        return f"{waits if health is Health.FAILING else ''}local: {local}"
    if not world.plan[a] and world.now - world.ledger.confirmed_at[a] < SETTLE:
        return f"confirmed just now, waiting for the trials of its group; local: {local}"
    states = ", ".join(
        f"{path} {_state(world, a, p)}"
        for p, path in enumerate(world.layout.paths)
        if p and world.layout.order[a, p] >= 0
    )
    usable = states or "no site has a next hop for this family"
    return f"no remote path is proven good right now ({usable}); local: {local}"


def _state(world: World, a: int, p: int) -> str:
    word = Health(int(world.ledger.health[a, p])).word
    if world.avoid_until[a, p] > world.now:
        return f"{word}, avoided"
    if world.ledger.stuck[a, p] >= SILENCES:
        return f"{word}, but nothing gets out over it now"
    return f"{word}, its last answer bad" if world.ledger.run[a, p] == 0 else word
