"""`steering run` and `demo`: the commands that stay in the foreground."""

from __future__ import annotations

import argparse
import sys

from steering.errors import FINE


def run(options: argparse.Namespace) -> int:
    """Run the agent until a signal ends it."""
    import asyncio

    from steering.agent.loop import Agent
    from steering.config import fingerprint, load
    from steering.errors import CannotRunError
    from steering.observe.preload import load_everything
    from steering.report.log import Log
    from steering.report.terminal import coloured
    from steering.system import descriptors
    from steering.system.output import Output

    # Without free descriptors nothing can be imported, so everything is imported first.
    load_everything()
    if (allowed := descriptors.claim()) < descriptors.LEAST:
        raise CannotRunError(
            1,
            f"nofile: {allowed} descriptors are allowed, wanted at least {descriptors.LEAST}: "
            "LimitNOFILE= in the unit, or `ulimit -n`",
        )
    seen = fingerprint(options.config)
    setup = load(options.config)
    output = Output(2)
    log = Log(output=output, readable=sys.stderr.isatty(), colour=coloured(sys.stderr))
    agent = Agent(setup, log, options.config, seen)
    # Output of libraries, or of a bug at the end, must not block the agent either.
    sys.stderr = output.stream()
    asyncio.run(agent.run())
    return FINE


def demo(options: argparse.Namespace) -> int:
    """Replay July 2023, live."""
    from steering.lab.demo import demo

    return demo.demo(timeline=options.json, embedded=options.embedded)
