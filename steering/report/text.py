"""The status and an explanation as text for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from steering.model import LOCAL

Answer = Mapping[str, Any]
"""Decoded JSON of the API."""


def status_text(answer: Answer, *, everything: bool = False) -> str:
    """A summary per upstream, then a line for each address that is not just healthy."""
    off = ", OFF" if answer["off"] else ""
    lines = [
        f"site {answer['site']}, {_mode(answer)}{off}, clock {answer['clock']}, {answer['time']}"
    ]
    lines += [f"ALARM {a['name']} since {a['since']}: {a['because']}" for a in answer["alarms"]]
    addresses: Sequence[Answer] = answer["addresses"]
    for upstream in dict.fromkeys(a["upstream"] for a in addresses):
        mine = [a for a in addresses if a["upstream"] == upstream]
        states = Counter(a["paths"][LOCAL]["health"] for a in mine)
        ways = Counter(a["steered_to"] or LOCAL for a in mine)
        would = Counter(_would(a) for a in mine if _would(a))
        lines.append(
            f"{upstream}: {len(mine)} addresses; local path "
            + ", ".join(f"{n} {state}" for state, n in states.most_common())
            + "; going "
            + ", ".join(f"{n} by {way}" for way, n in ways.most_common())
            + (", would go " if would else "")
            + ", ".join(f"{n} by {way}" for way, n in would.most_common())
        )
    shown = [a for a in addresses if everything or _remarkable(a)]
    if shown:
        lines += ["", *_columns(shown)]
    return "\n".join(lines)


def _mode(answer: Answer) -> str:
    """How far the agent goes, in words where it is not all the way."""
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


def _remarkable(address: Answer) -> bool:
    return bool(
        address["steered_to"]
        or _would(address)
        or _installed(address)
        or address["paths"][LOCAL]["health"] != "healthy"
    )


def _would(address: Answer) -> str:
    """The site by which it would go if the agent acted; empty: none, or it acts."""
    return str(address.get("would_steer_to") or "")


def _installed(address: Answer) -> str:
    """Where it really goes; by which actuator, where they differ."""
    kernel, bgp = address["installed"]["kernel"], address["installed"]["bgp"]
    if kernel and bgp and kernel != bgp:
        return f"{kernel} (kernel), {bgp} (bgp)"
    return str(kernel or bgp or "")


def _columns(addresses: Sequence[Answer]) -> list[str]:
    wanted = "WOULD" if any(map(_would, addresses)) else "WANTED"
    rows = [("ADDRESS", "NAMESERVER", "LOCAL", "FAILING", wanted, "INSTALLED", "RULE", "SINCE")]
    for a in addresses:
        local = a["paths"][LOCAL]
        rate = local["failure_rate"]
        rows.append(
            (
                a["address"],
                a["nameserver"],
                local["health"],
                "-" if rate is None else f"{rate:.1%}",
                a["steered_to"] or _would(a) or LOCAL,
                _installed(a) or LOCAL,
                a["rule"] or "-",
                a["since"],
            )
        )
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns that stand one below the other."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def explain_text(answer: Answer) -> str:
    """Every rule in order, which one decides, and the evidence of each path."""
    would = f"would go by {_would(answer)}; " if _would(answer) else ""
    lines = [
        (
            f"{answer['address']} ({answer['nameserver']}, {answer['upstream']}) "
            f"goes by {answer['steered_to'] or LOCAL}; "
            f"{would}installed: {_installed(answer) or LOCAL}"
        ),
        f"because: {answer['because']}",
        "",
    ]
    lines += map(_rule, answer["rules"])
    lines.append("")
    for path, evidence in answer["evidence"].items():
        numbers = answer["paths"][path]
        lines.append(f"   {path}: {evidence['health']}: {evidence['because']}")
        outcomes = ", ".join(f"{n} {word}" for word, n in numbers["outcomes"].items())
        detail = [
            f"{outcomes or 'no answers yet'}",
            *([f"rtt {numbers['rtt_ms']:.1f} ms"] if numbers["rtt_ms"] is not None else []),
            *([f"NSID {numbers['nsid']}"] if numbers["nsid"] else []),
            *(
                [f"shortest signature {numbers['signature_remaining_s']:.0f} s"]
                if numbers["signature_remaining_s"] is not None
                else []
            ),
            *(
                [f"serial lag {numbers['serial_lag_s']:.0f} s"]
                if numbers["serial_lag_s"] is not None
                else []
            ),
        ]
        lines.append("      " + "; ".join(detail))
        if (heard := numbers.get("heard")) is not None:
            said = ", ".join(f"{n} {word}" for word, n in heard["outcomes"].items())
            lines.append(f"      the resolvers were answered: {said}")
    lines.append("   (=> decides, + would apply if no rule before it did)")
    return "\n".join(lines)


def _rule(rule: Answer) -> str:
    sign = "=>" if rule["decides"] else " +" if rule["applies"] else "  "
    lines = [f"{sign} {rule['number']:>2}. {rule['name']:<11} {rule['when']} -> {rule['answer']}"]
    lines += [f"{'':19}{rule['because']}", f"{'':19}otherwise: {rule['otherwise']}"]
    return "\n".join(lines)
