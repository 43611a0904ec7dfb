"""Drivers against the real resolvers: whether clients get the copy is seen in their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from steering.act.resolvers.command import Command
from steering.act.resolvers.driver import Fault, Moved, Result
from steering.act.resolvers.knot import Knot
from steering.config.resolvers import CommandSection, Control
from steering.lab.network.sandbox import Sandbox, missing
from steering.lab.servers.copied import RESOLVERS, Site, lacking
from steering.lab.waiting import until
from steering.resolver_drivers import driver_of

pytestmark = pytest.mark.lab

ALL = tuple(RESOLVERS)
LOADED = 90.0
"""PowerDNS Recursor looks once a minute whether there is a zone to be put into its cache."""


@contextmanager
def site(kind: str) -> Iterator[Site]:
    if lacks := (*missing(), *lacking([kind])):
        pytest.skip(f"not installed: {', '.join(lacks)}")
    with Sandbox() as sandbox:
        made = Site(sandbox, kind)
        made.start()
        await_copy(made)
        yield made


def await_copy(made: Site) -> None:
    tell = made.resolver.tail if made.resolver is not None else ""
    until(made.whence, LOADED, wanted="copy", every=2.0, tell=tell)


def take_out(made: Site, settings: Control | None = None) -> Result:
    return asyncio.run(driver_of(settings or made.settings()).take_out("."))


def put_back(made: Site) -> Result:
    return asyncio.run(driver_of(made.settings()).put_back("."))


def is_out(made: Site) -> bool | None:
    return asyncio.run(driver_of(made.settings()).is_out("."))


@pytest.mark.parametrize("kind", ALL)
def test_a_copy_goes_out_stays_out_and_comes_back(kind: str) -> None:
    with site(kind) as made:
        text = made.include.read_text()
        assert is_out(made) in {False, None}
        for _ in range(2):
            came = take_out(made)
            assert came.done, came.said
            assert made.whence() == "real"
            assert is_out(made) in {True, None}
        made.restart()
        assert made.whence() == "real", "it is out over a restart too"
        for _ in range(2):
            came = put_back(made)
            assert came.done, came.said
            await_copy(made)
        assert made.include.read_text() == text
        assert not made.include.with_name("copy.conf.kept").exists()
        assert is_out(made) in {False, None}


class Killed(BaseException):
    """The agent ended here."""


@contextmanager
def killed_before(number: int) -> Iterator[list[str]]:
    """The agent ends before it says the command of this number to the resolver."""
    said: list[str] = []

    def count(what: str) -> None:
        if len(said) == number:
            raise Killed
        said.append(what)

    async def run(self: Command, *more: str) -> str:
        count(" ".join(more))
        return await real_run(self, *more)

    async def say(self: Knot, path: Path, line: str) -> str:
        count(line)
        return await real_say(self, path, line)

    with pytest.MonkeyPatch.context() as patched:
        real_run, real_say = Command.run, Knot._say
        patched.setattr(Command, "run", run)
        patched.setattr(Knot, "_say", say)
        yield said


@pytest.mark.parametrize("kind", ALL)
def test_a_death_between_two_commands_is_completed_by_the_next_call(kind: str) -> None:
    """And a resolver that restarts meanwhile starts, with what was wanted."""
    with site(kind) as made:
        deaths = number = 0
        while True:
            with killed_before(number):
                try:
                    assert take_out(made).done
                    break
                except Killed:
                    deaths += 1
            if number % 2:
                made.restart()
                assert made.whence() == "real"
            assert take_out(made).done
            assert made.whence() == "real"
            number += 1
        number = 0
        while True:
            with killed_before(number):
                try:
                    assert put_back(made).done
                    break
                except Killed:
                    deaths += 1
            if number % 2:
                made.restart()
            assert take_out(made).done
            assert made.whence() == "real"
            number += 1
        assert deaths >= 2
        await_copy(made)


@pytest.mark.parametrize("kind", ALL)
def test_a_resolver_that_hangs_is_said_and_the_next_call_completes(kind: str) -> None:
    with site(kind) as made:
        settings = made.settings().model_copy(update={"time_limit": 0.5})
        assert made.resolver is not None
        made.resolver.freeze()
        try:
            came = take_out(made, settings)
        finally:
            made.resolver.thaw()
        assert not came.done
        assert "within 0.5 s" in came.said
        assert came.seconds < 10
        assert "taken out" in made.include.read_text()
        until(lambda: take_out(made).done, every=0.2)
        assert made.whence() == "real"


@pytest.mark.parametrize("kind", ["unbound", "bind", "pdns-recursor"])
def test_a_user_who_may_not_reach_it_is_told_so(kind: str) -> None:
    with site(kind) as made:
        settings = made.settings()
        assert isinstance(settings, CommandSection)
        if kind == "bind":  # the key is what lets one in
            config = made.folder / "rndc.conf"
            config.write_text(
                config.read_text().replace("bGFiLWxhYi1sYWItbGFi", "b3RoZXJvdGhlcg==")
            )
        else:
            made.folder.chmod(0o755)
            settings = settings.model_copy(update={"user": "nobody"})
        came = take_out(made, settings)
        assert not came.done
        word = "not authorized" if kind == "bind" else "ermission denied"
        assert word in came.said
        assert made.whence() == "copy", "nothing was changed in the resolver"


@pytest.mark.parametrize("spoil", ["cut", "mnemonic"])
def test_half_a_zone_is_not_put_back_and_unbound_starts_with_what_is_left(spoil: str) -> None:
    """Unbound 1.17.1 would serve what it has read of it, and a restart would be fatal.

    A file that is cut between two records parses. It is not for a driver to see that: whoever
    publishes a zone verifies it first.
    """
    with site("unbound") as made:
        assert take_out(made).done
        zone = made.folder / "copy.zone"
        text = zone.read_text()
        half = text[: text.rindex(" IN DS ") + len(" IN D")]
        spoiled = half if spoil == "cut" else half.rpartition("\n")[0] + "\nt999. 60 IN NEW x\n"
        zone.write_text(spoiled)
        came = put_back(made)
        assert not came.done
        assert "copy.zone" in came.said
        assert is_out(made) is True
        assert made.whence() == "real"
        made.restart()
        assert made.whence() == "real"
        zone.write_text(text)
        assert put_back(made).done
        await_copy(made)


@pytest.mark.parametrize("kind", ["bind", "pdns-recursor", "knot-resolver"])
def test_a_text_that_does_not_run_is_not_put_back(kind: str) -> None:
    with site(kind) as made:
        assert take_out(made).done
        kept = made.include.with_name("copy.conf.kept")
        text = kept.read_text()
        kept.write_text(text + "junk ( {\n")
        came = put_back(made)
        assert not came.done
        assert "taken out" in made.include.read_text()
        made.restart()
        assert made.whence() == "real"
        kept.write_text(text)
        assert put_back(made).done
        await_copy(made)


@pytest.mark.parametrize("kind", ALL)
def test_a_real_resolver_takes_every_flush(kind: str) -> None:
    moved = Moved(
        zones=("com.", "net.", "."),
        silent=("192.5.6.30", "2001:503:a83e::2:30"),
        faults=frozenset(Fault),
    )
    with site(kind) as made:
        came = asyncio.run(driver_of(made.settings()).flush(moved))
        assert came.done, came.said
        assert made.whence() in {"copy", "real"}
