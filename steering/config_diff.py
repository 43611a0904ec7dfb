"""The differences between two versions of the files, in words: pure.

For each changed key the old and the new value, by the paths that messages about problems use, and
which policies and overrides were added or removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from steering.config.load import Setup
from steering.config.policy import Policy
from steering.config.problems import Location, path_of
from steering.config.zone_copy import ZoneCopy
from steering.format import counted
from steering.override import Override
from steering.override_text import ends, override_in_full

_NAMED = 100
"""Overrides whose order is told."""

Value = object
"""What a dump of a model holds: text, numbers, None, lists and mappings of these."""


def changes(was: Setup, now: Setup) -> tuple[str, ...]:
    """One line for each difference, in the order of the files; none where they say the same."""
    return (*file_changes(was, now), *override_changes(was, now))


def file_changes(was: Setup, now: Setup) -> tuple[str, ...]:
    """Those in the configuration and the policies."""
    return (
        *_compared((), was.config.model_dump(mode="json"), now.config.model_dump(mode="json")),
        *_policies(was.policies, now.policies),
        *_copies(was.copies, now.copies),
    )


def override_changes(was: Setup, now: Setup) -> tuple[str, ...]:
    """Those in the overrides."""
    return tuple(_overrides(was.overrides, now.overrides))


def _policies(was: Sequence[Policy], now: Sequence[Policy]) -> Iterator[str]:
    before, after = {p.upstream: p for p in was}, {p.upstream: p for p in now}
    for name, policy in before.items():
        if name not in after:
            yield f"policy {name} removed ({counted(len(policy.targets), 'address')})"
    for name, policy in after.items():
        if name not in before:
            yield f"policy {name} added ({counted(len(policy.targets), 'address')})"
        else:
            dumps = (p.model_dump(mode="json") for p in (before[name], policy))
            yield from (f"policy {name}: {line}" for line in _compared((), *dumps))


def _copies(was: Sequence[ZoneCopy], now: Sequence[ZoneCopy]) -> Iterator[str]:
    before, after = ({copy.zone_copy: copy for copy in copies} for copies in (was, now))
    yield from (f"zone_copy {name} removed" for name in before if name not in after)
    for name, copy in after.items():
        if name not in before:
            yield f"zone_copy {name} added ({counted(len(copy.resolvers), 'resolver')})"
        else:
            dumps = (c.model_dump(mode="json", by_alias=True) for c in (before[name], copy))
            yield from (f"zone_copy {name}: {line}" for line in _compared((), *dumps))


def _overrides(was: Sequence[Override], now: Sequence[Override]) -> Iterator[str]:
    before, after = {o.name: o for o in was}, {o.name: o for o in now}
    yield from (f"override {name} removed" for name in before if name not in after)
    for name, override in after.items():
        if name not in before:
            yield f"override added: {override_in_full(override)}"
        else:
            dumps = (_dump(o) for o in (before[name], override))
            yield from (f"override {name}: {line}" for line in _compared((), *dumps))
    both = [name for name in before if name in after]
    if both != [name for name in after if name in before]:
        names, more = list(after)[:_NAMED], len(after) - _NAMED
        yield f"overrides: their order is now {', '.join(names)}{', ...' if more > 0 else ''}"


def _dump(override: Override) -> Mapping[str, Value]:
    value = asdict(override)
    return {**value, "until": ends(override.until)}


def _compared(where: Location, was: Value, now: Value) -> Iterator[str]:
    if not (isinstance(was, Mapping) and isinstance(now, Mapping)):
        if was != now:
            yield f"{path_of(where)}: was {_typed(was)}, now {_typed(now)}"
        return
    for key in was:
        if key not in now:
            yield f"{path_of((*where, key))} removed (was {_typed(was[key])})"
    for key, value in now.items():
        if key in was:
            yield from _compared((*where, key), was[key], value)
        else:
            yield f"{path_of((*where, key))} added: {_typed(value)}"
    # Sites are numbered in their order, and mappings are equal in any.
    if list(was) != list(now) and was.keys() == now.keys():
        yield f"{path_of(where)}: the order is now {', '.join(map(str, now))}"


def _typed(value: Value) -> str:
    """A value about as one would type it."""
    match value:
        case None:
            return "not set"
        case bool():
            return str(value).lower()
        case Mapping():
            inside = (f"{key}: {_typed(v)}" for key, v in value.items() if v is not None)
            return f"{{{', '.join(inside)}}}"
        case list() | tuple():
            return f"[{', '.join(map(_typed, value))}]"
        case _:
            return str(value)
