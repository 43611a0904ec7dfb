"""Many operators' addresses, at the shipped cadence and with the shipped way home."""

from __future__ import annotations

from pathlib import Path

from simulation import Answer, Ask, Simulation, setup

START = 1060.0
"""By then every address was asked several times."""
CONFIG = """\
site: sin
sites:
  pao: {next_hop: {ipv4: 10.255.1.2, ipv6: "fd00:ff:1::2"}}
policies: policies
"""
"""The shipped cadence: 10 s, and 200 ms where something is the matter."""


def many(name: str, net: int, letters: int) -> str:
    """A policy of so many nameservers, with the shipped way home, as an operator of its own."""
    servers = "\n".join(
        f'  n{i}.{name}.example.: [192.{net}.{i}.30, "2001:db8:{net}::{i}:30"]'
        for i in range(letters)
    )
    return (
        f"upstream: {name}\nzones: [{name}.]\noperator: {{name: {name}}}\nnameservers:\n{servers}\n"
    )


def sim(tmp: Path, answer: Answer, *, operators: int, letters: int, more: str = "") -> Simulation:
    texts = [many(f"u{net}", net, letters) for net in range(1, operators + 1)]
    made = Simulation(setup(tmp, *texts, config=CONFIG + more), answer)
    return made.run(START - made.now)


def net(ask: Ask) -> int:
    """Number of the operator asked."""
    return int(ask.address.split(":")[2] if ask.v6 else ask.address.split(".")[1])
