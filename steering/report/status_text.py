"""The status and an explanation as text for a terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from steering.format import age, between, duration, percent
from steering.model import LOCAL, Outcome
from steering.report.copies_text import copy_lines
from steering.report.terminal import WIDTH, painted, table, wrapped

Answer = Mapping[str, Any]
"""Decoded JSON of the API."""

_BAD = re.compile(r"(?<= )(failing|stale|suspect)(?= )")


def status_text(
    answer: Answer, *, everything: bool = False, columns: int = WIDTH, colour: bool = False
) -> str:
    """A summary of each upstream, then a line for each address that is not just healthy.

    `columns` is the width of the terminal. Times are ages, at the time of the answer.
    """
    off = ", OFF" if answer["off"] else ""
    head = f"site {answer['site']}, {_mode(answer)}{off}, clock {answer['clock']}, {answer['time']}"
    lines = wrapped(head, columns)
    for alarm in sorted(answer["alarms"], key=lambda alarm: "acknowledged" in alarm):
        lines += alarm_lines(alarm, answer["time"], columns, colour=colour)
    addresses: Sequence[Answer] = answer["addresses"]
    without = _without(addresses)
    for family in [] if everything else sorted(without):
        left_out = sum(a["family"] == family for a in addresses)
        hidden = f"{left_out} addresses are not shown (--all)"
        lines += wrapped(f"{family}: this host has no route and never had one: {hidden}", columns)
    if not everything:
        addresses = [a for a in addresses if a["family"] not in without or a["steered_to"]]
    for upstream in dict.fromkeys(a["upstream"] for a in addresses):
        mine = [a for a in addresses if a["upstream"] == upstream]
        states = Counter(a["paths"][LOCAL]["health"] for a in mine)
        paths = Counter(a["steered_to"] or LOCAL for a in mine)
        would = Counter(_would(a) for a in mine if _would(a))
        summary = (
            f"{upstream}: {len(mine)} addresses; local path "
            + ", ".join(f"{n} {state}" for state, n in states.most_common())
            + "; "
            + ", ".join(f"{n} over {_path(path)}" for path, n in paths.most_common())
            + ("; would move " if would else "")
            + ", ".join(f"{n} to {_path(path)}" for path, n in would.most_common())
        )
        lines += wrapped(summary, columns)
    lines += copy_lines(answer, columns)
    shown = [a for a in addresses if everything or _to_show(a)]
    if shown:
        rows = _columns(shown, answer["time"], columns)
        lines += ["", *(_BAD.sub(_painted, row, count=1) if colour else row for row in rows)]
    return "\n".join(lines)


def _path(path: str) -> str:
    return "the local path" if path == LOCAL else path


def _without(addresses: Sequence[Answer]) -> frozenset[str]:
    """Families of which no probe ever left this host, while probes of another one did."""
    tried: dict[str, set[str]] = {}
    for a in addresses:
        tried.setdefault(a["family"], set()).update(a["paths"][LOCAL]["outcomes"])
    never = frozenset(family for family, outcomes in tried.items() if outcomes == {_NOT_SENT})
    return never if len(never) < len(tried) else frozenset()


_NOT_SENT = str(Outcome.LOCAL_ERROR)


def alarm_lines(
    alarm: Answer, now: str, columns: int = WIDTH, *, colour: bool = False
) -> Iterator[str]:
    """One alarm, its acknowledgements, and the alarms that follow from it."""
    since, seen = age(between(alarm["since"], now)), alarm.get("acknowledged", ())
    head = f"ALARM {alarm['name']} for {since}{', acknowledged' if seen else ''}"
    first, *others = wrapped(f"{head}: {alarm['because']}", columns)
    plain = seen or not colour
    yield first if plain else first.replace("ALARM", painted("ALARM", "alarm"), 1)
    yield from others
    for one in seen:
        yield from wrapped(f"   {_seen(one, now)}", columns, " " * 6)
    for one in alarm.get("follows", ()):
        yield from wrapped(f"   consequence: {one['name']}: {one['because']}", columns, " " * 6)


def _seen(one: Answer, now: str) -> str:
    until = one["until"]
    left = "until that is removed" if until is None else f"for another {age(between(now, until))}"
    return f"acknowledged by {one['by']} {left} ({one['name']}): {one['reason']}"


def _painted(found: re.Match[str]) -> str:
    return painted(found[0], found[0])


def _mode(answer: Answer) -> str:
    """The mode, and what the agent does not do in it."""
    if answer["mode"] == "enforce":
        return "enforce"
    asked = any(
        numbers["samples"]
        for address in answer["addresses"]
        for path, numbers in address["paths"].items()
        if path != LOCAL
    )
    nothing = "" if asked or answer["mode"] != "observe" else "compares nothing, "
    return f"{answer['mode']} ({nothing}moves nothing)"


def _to_show(address: Answer) -> bool:
    return bool(
        address["steered_to"]
        or _would(address)
        or _installed(address)
        or address["paths"][LOCAL]["health"] != "healthy"
    )


def _would(address: Answer) -> str:
    """The site that it would be steered to if the agent acted; empty: none, or the agent acts."""
    return str(address.get("would_steer_to") or "")


def _installed(address: Answer) -> str:
    """The site that is installed; with the actuator where they differ; empty: none."""
    kernel, bgp = address["installed"]["kernel"], address["installed"]["bgp"]
    if kernel and bgp and kernel != bgp:
        return f"{kernel} (kernel), {bgp} (bgp)"
    return str(kernel or bgp or "")


def _path_in_use(address: Answer) -> str:
    """The path in use, and the one that is or would be wanted, where that is another one."""
    wanted, there = address["steered_to"] or LOCAL, _installed(address) or LOCAL
    if there != wanted:
        return f"{there}, wanted {wanted}"
    return f"{there}, would be {_would(address)}" if _would(address) else there


def _columns(addresses: Sequence[Answer], now: str, columns: int) -> list[str]:
    rows = [("ADDRESS", "NAMESERVER", "LOCAL", "FAILING", "PATH", "RULE", "SINCE")]
    for a in addresses:
        local = a["paths"][LOCAL]
        rows.append(
            (
                a["address"],
                a["nameserver"],
                local["health"],
                percent(local["failure_rate"]),
                _path_in_use(a),
                a["rule"] or "-",
                age(between(a["since"], now)),
            )
        )
    return table(rows, columns, cut=(1,))


def explain_text(answer: Answer, *, columns: int = WIDTH, colour: bool = False) -> str:
    """Every rule in order, which one decides, and the evidence of each path.

    `columns` is the width of the terminal.
    """
    would = f"would be {_would(answer)}; " if _would(answer) else ""
    head = (
        f"{answer['address']} ({answer['nameserver']}, {answer['upstream']}) "
        f"path {answer['steered_to'] or LOCAL}; "
        f"{would}installed: {_installed(answer) or LOCAL}"
    )
    lines = [*wrapped(head, columns), *wrapped(f"because: {answer['because']}", columns)]
    for alarm in answer.get("alarms", ()):
        lines += alarm_lines(alarm, answer["time"], columns, colour=colour)
    lines.append("")
    for rule in answer["rules"]:
        lines += _rule(rule, columns, colour=colour)
    lines.append("")
    for path, evidence in answer["evidence"].items():
        numbers = answer["paths"][path]
        why = f"   {path}: {evidence['health']}: {evidence['because']}"
        lines += wrapped(why, columns, " " * 6)
        outcomes = ", ".join(f"{n} {word}" for word, n in numbers["outcomes"].items())
        detail = [
            f"{outcomes or 'no answers yet'}",
            *([f"rtt {numbers['rtt_ms']:.1f} ms"] if numbers["rtt_ms"] is not None else []),
            *([f"NSID {numbers['nsid']}"] if numbers["nsid"] else []),
            *(
                [f"shortest signature {duration(numbers['signature_remaining_s'])}"]
                if numbers["signature_remaining_s"] is not None
                else []
            ),
            *(
                [f"serial lag {duration(numbers['serial_lag_s'])}"]
                if numbers["serial_lag_s"] is not None
                else []
            ),
        ]
        lines += wrapped("      " + "; ".join(detail), columns, " " * 8)
        if (traffic := numbers.get("heard")) is not None:
            answers = ", ".join(f"{n} {word}" for word, n in traffic["outcomes"].items())
            lines += wrapped(f"      answers to the resolvers: {answers}", columns, " " * 8)
    lines.append("   (=> decides, + would apply if no rule before it did)")
    return "\n".join(lines)


def _rule(rule: Answer, columns: int, *, colour: bool) -> Iterator[str]:
    sign = "=>" if rule["decides"] else " +" if rule["applies"] else "  "
    head = f"{sign} {rule['number']:>2}. {rule['name']:<11} {rule['when']} -> {rule['answer']}"
    bold = colour and rule["decides"]
    for line in wrapped(head, columns, _BELOW):
        yield painted(line, "decides") if bold else line
    yield from wrapped(_BELOW + rule["because"], columns, _BELOW)
    yield from wrapped(f"{_BELOW}would change with: {rule['otherwise']}", columns, _BELOW)


_BELOW = " " * 19
