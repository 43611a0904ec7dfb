"""`steering rootzone`: a good copy of the root zone, fetched, verified, published, shown."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from steering.cli.examples import examples
from steering.errors import FAILED, FINE, WRONG_INPUT, CommandError

if TYPE_CHECKING:
    from steering.config import Setup
    from steering.observe.dnssec.anchors import Anchors
    from steering.rootzone.keep import Kept
    from steering.rootzone.publish import Published, Target


def add_commands(
    top: argparse.ArgumentParser,
    configure: Callable[[argparse.ArgumentParser], argparse.ArgumentParser],
) -> None:
    """Adds the four commands; `configure` gives each the option for the configuration."""
    commands = top.add_subparsers(
        dest="doing", required=True, metavar="fetch|verify|publish|status"
    )

    def command(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=examples(f"rootzone {name}"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.add_argument("--json", action="store_true", help="print JSON")
        return configure(made)

    fetch = command("fetch", "ask the sources, and keep a newer copy if it is good")
    fetch.add_argument(
        "--again",
        action="store_true",
        help="take the serial at hand once more, where the copy is spoiled",
    )
    verify = command("verify", "verify the copy, or any zone file: exits 1 if it must not be used")
    file = verify.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="a zone file (default: the copy that is kept)",
    )
    file.complete = {"bash": "_shtab_compgen_files", "zsh": "_files"}  # type: ignore[attr-defined]
    verify.add_argument(
        "--zone",
        default=".",
        metavar="ZONE",
        help="the zone in FILE, which needs a trust anchor of its own (default: the root)",
    )
    publish = command("publish", "give the copy to the resolvers of the configuration")
    publish.add_argument(
        "names", nargs="*", metavar="NAME", help="only these of `rootzone.publish` (default: all)"
    )
    command("status", "show the copy, the last round, and who was given it")


def rootzone(options: argparse.Namespace) -> int:
    """Runs one of the four."""
    from steering import from_config
    from steering.config import load
    from steering.rootzone.keep import Kept, directory_of

    setup = load(options.config)
    anchors = from_config.key_sources_of(setup).anchors
    kept = Kept(directory_of(setup.config.state))
    work = {"fetch": _fetch, "verify": _verify, "publish": _publish, "status": _status}
    return work[options.doing](options, setup, kept, anchors)


def _fetch(options: argparse.Namespace, setup: Setup, kept: Kept, anchors: Anchors) -> int:
    import asyncio

    from steering.config.rootzone import SOURCES
    from steering.observe.zone.facts import Source
    from steering.rootzone.fetch import fetch
    from steering.rootzone.status import facts_data

    settings = setup.config.rootzone
    addresses = SOURCES if settings is None else settings.sources
    sources = [Source(address=address) for address in addresses]
    with kept.locked(), _progress() as say:
        found = asyncio.run(
            fetch(kept, sources, anchors, time.time(), again=options.again, progress=say)
        )
    if options.json:
        made = {
            "outcome": found.outcome,
            "because": found.because,
            "copy": None if found.copy is None else facts_data(found.copy.facts),
            "sources": [
                {"source": one.source, "serial": one.serial, "because": one.because}
                for one in found.shown
            ],
        }
        print(json.dumps(made))
    else:
        print(f"{found.outcome}: {found.because}")
    return FINE if found.good else FAILED


def _verify(options: argparse.Namespace, _: Setup, kept: Kept, anchors: Anchors) -> int:
    import asyncio

    from steering.observe.zone.child import examine
    from steering.observe.zone.facts import Failed, Fault
    from steering.rootzone.status import facts_data, facts_lines

    zone = _zone(options.zone)
    file = kept.file if options.file is None else options.file.absolute()
    if zone not in anchors:
        raise CommandError(WRONG_INPUT, f"{zone} has no trust anchor: `trust_anchors` names them")
    now = time.time()
    with _progress() as say:
        found = asyncio.run(examine(file, zone, anchors, now, progress=say))
    if isinstance(found, Failed):
        if options.json:
            print(json.dumps({"good": False, "problems": [found.because], "fault": found.fault}))
        missing = found.fault is Fault.FILE and not file.exists()
        raise CommandError(WRONG_INPUT if missing else FAILED, found.because)
    if options.json:
        print(json.dumps(facts_data(found)))
    else:
        print(f"{file}: {zone} serial {found.serial}: {'good' if found.good else 'not to be used'}")
        print("\n".join(facts_lines(found, now)))
    return FINE if found.good else FAILED


def _zone(text: str) -> str:
    """A zone's name as anchors have it."""
    name = text.lower().rstrip(".")
    return f"{name}."


def _publish(options: argparse.Namespace, setup: Setup, kept: Kept, anchors: Anchors) -> int:
    import asyncio

    from steering.observe.nonce import system_random
    from steering.rootzone.publish import publish

    targets = _targets(setup)
    if unknown := [name for name in options.names if name not in {t.name for t in targets}]:
        known = ", ".join(t.name for t in targets) or "none"
        raise CommandError(
            WRONG_INPUT, f"no `rootzone.publish.{unknown[0]}`, wanted one of {known}"
        )
    if not targets:
        raise CommandError(WRONG_INPUT, "the configuration has no `rootzone.publish`")
    copy = kept.copy()
    if copy is None:
        raise CommandError(FAILED, f"no copy in {kept.file}: `steering rootzone fetch` gets one")
    rng = system_random()

    async def each(say: Callable[[str], None]) -> list[Published]:
        return [
            await publish(kept, copy, target, anchors, time.time(), rng=rng, progress=say)
            for target in targets
            if not options.names or target.name in options.names
        ]

    with kept.locked(), _progress() as say:
        done = asyncio.run(each(say))
    if options.json:
        rows = [
            {"name": p.name, "step": p.step, "serial": p.serial, "because": p.because} for p in done
        ]
        print(json.dumps(rows))
    else:
        for one in done:
            print(f"{one.name}: {one.step}: {one.because or f'serial {one.serial}'}")
    return FINE if all(one.good for one in done) else FAILED


def _status(options: argparse.Namespace, setup: Setup, kept: Kept, _: Anchors) -> int:
    from steering.rootzone.status import as_json, data_of, text_of, usable

    now, copy = time.time(), kept.copy()
    data = data_of(kept, _targets(setup), now)
    print(as_json(data) if options.json else text_of(data, copy, now))
    return FINE if copy is not None and usable(copy, now) else FAILED


def _targets(setup: Setup) -> list[Target]:
    from steering.rootzone.targets import target_of

    settings = setup.config.rootzone
    return [target_of(*one) for one in settings.publish.items()] if settings is not None else []


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being done, in one line that is gone afterwards."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    try:
        yield lambda what: print(f"\r\x1b[K{what[:70]} …", end="", file=sys.stderr, flush=True)
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
