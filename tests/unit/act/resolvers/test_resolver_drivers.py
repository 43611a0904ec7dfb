"""What each driver has its resolver do: these commands, in this order, and nothing more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from steering.act.resolvers.driver import Driver, Fault, Moved
from steering.config.resolvers import (
    BindControl,
    Control,
    Flush,
    KnotControl,
    OneResolver,
    PowerDnsControl,
    UnboundControl,
)
from steering.resolver_drivers import driver_of, flushing

SCRIPT = """#!/bin/sh
echo "$(basename $0) $*" >> {folder}/said
[ ! -e {folder}/$1.fails ] || {{ cat {folder}/$1.fails; exit 1; }}
[ ! -e {folder}/$1.says ] || {{ cat {folder}/$1.says; exit 0; }}
echo ok
"""
TEXT = "the operator's text\n"


class Host:
    """A host whose control programs write down what they are called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("control", "check"):
            path = folder / name
            path.write_text(SCRIPT.format(folder=folder))
            path.chmod(0o755)
        self.include = folder / "copy.conf"
        self.include.write_text(TEXT)
        self.says("list_auth_zones", ".\tserial 2026120100\n")

    def settings(self, kind: str, *, include: bool = True) -> Control:
        file = self.include if include else None
        control, check = (str(self.folder / "control"),), (str(self.folder / "check"), "file")
        if kind == "unbound":
            return UnboundControl(control=control, check=check, include=file)
        if kind == "bind":
            return BindControl(control=control, check=check, include=file)
        return PowerDnsControl(control=control, include=file)

    def driver(self, kind: str) -> Driver:
        return driver_of(self.settings(kind))

    def says(self, command: str, text: str) -> None:
        (self.folder / f"{command}.says").write_text(text)

    def fails(self, command: str, text: str) -> None:
        (self.folder / f"{command}.fails").write_text(text)

    def said(self) -> list[str]:
        """The commands since the last call."""
        path = self.folder / "said"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


SILENT = ("192.5.6.30", "2001:503:a83e::2:30")


@pytest.mark.parametrize(
    ("kind", "faults", "silent", "commands"),
    [
        ("unbound", {Fault.BOGUS}, (), ["control flush_bogus"]),
        ("unbound", {Fault.KEYS}, (), ["control flush_bogus"]),
        (
            "unbound",
            {Fault.SILENCE},
            SILENT,
            [f"control flush_infra {address}" for address in SILENT],
        ),
        (
            "unbound",
            {Fault.BOGUS, Fault.SILENCE},
            SILENT[:1],
            ["control flush_bogus", f"control flush_infra {SILENT[0]}"],
        ),
        ("pdns-recursor", {Fault.BOGUS}, (), ["control wipe-cache com.$ net.$"]),
        ("pdns-recursor", {Fault.KEYS}, (), ["control wipe-cache com.$ net.$"]),
        ("pdns-recursor", {Fault.SILENCE}, SILENT, []),
        ("bind", {Fault.BOGUS}, (), []),
        ("bind", {Fault.SILENCE}, SILENT, []),
        ("bind", {Fault.KEYS}, (), ["control flushtree com.", "control flushtree net."]),
    ],
)
def test_a_flush_is_what_helps_and_nothing_more(
    host: Host, kind: str, faults: set[Fault], silent: tuple[str, ...], commands: list[str]
) -> None:
    moved = Moved(zones=("com.", "net."), silent=silent, faults=frozenset(faults))
    driver = host.driver(kind)
    assert driver.remembers(moved) == bool(commands)
    if commands:
        assert asyncio.run(driver.flush(moved)).done
    assert host.said() == commands


def test_knot_resolver_has_nothing_to_flush() -> None:
    moved = Moved(zones=("com.",), silent=SILENT, faults=frozenset(Fault))
    assert not driver_of(KnotControl()).remembers(moved)
    assert asyncio.run(driver_of(KnotControl()).flush(moved)).done


@pytest.mark.parametrize(
    ("kind", "command"), [("unbound", "status"), ("bind", "status"), ("pdns-recursor", "ping")]
)
def test_whether_it_can_be_reached_is_asked_without_a_change(
    host: Host, kind: str, command: str
) -> None:
    assert asyncio.run(host.driver(kind).reach()).done
    assert host.said() == [f"control {command}"]
    host.fails(command, "error: could not connect")
    assert "could not connect" in asyncio.run(host.driver(kind).reach()).said


def test_a_flush_that_fails_says_so(host: Host) -> None:
    host.fails("flush_bogus", "error: could not connect")
    moved = Moved(zones=("com.",), faults=frozenset({Fault.BOGUS}))
    came = asyncio.run(host.driver("unbound").flush(moved))
    assert not came.done
    assert "could not connect" in came.said
    assert came.seconds > 0


OUT = {
    "unbound": ["check file", "control reload_keep_cache", "control flush_zone ."],
    "bind": ["check file", "control reconfig"],
    "pdns-recursor": ["control reload-lua-config", "control wipe-cache .$"],
}
BACK = {
    "unbound": ["check file", "control reload_keep_cache", "control list_auth_zones"],
    "bind": ["check file", "control reconfig"],
    "pdns-recursor": ["control reload-lua-config"],
}


@pytest.mark.parametrize("kind", OUT)
def test_a_copy_goes_out_and_comes_back_as_often_as_it_is_asked(host: Host, kind: str) -> None:
    driver = host.driver(kind)
    for _ in range(2):
        assert asyncio.run(driver.take_out(".")).done
        assert host.said() == OUT[kind]
        assert "taken out by steering" in host.include.read_text()
    for _ in range(2):
        assert asyncio.run(driver.put_back(".")).done
        assert host.said() == BACK[kind]
        assert host.include.read_text() == TEXT
    assert not host.include.with_name("copy.conf.kept").exists()


@pytest.mark.parametrize("kind", ["unbound", "bind"])
def test_a_configuration_that_does_not_parse_is_never_loaded(host: Host, kind: str) -> None:
    """A reload would end Unbound."""
    host.fails("file", "syntax error")
    came = asyncio.run(host.driver(kind).take_out("."))
    assert not came.done
    assert "syntax error" in came.said
    assert host.said() == ["check file"]
    assert "taken out" in host.include.read_text(), "a restart has no copy either"


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("unbound", "file"),
        ("unbound", "reload_keep_cache"),
        ("bind", "file"),
        ("bind", "reconfig"),
        ("pdns-recursor", "reload-lua-config"),
    ],
)
def test_a_copy_that_can_not_be_put_back_stays_out_on_the_disk_too(
    host: Host, kind: str, step: str
) -> None:
    driver = host.driver(kind)
    assert asyncio.run(driver.take_out(".")).done
    host.fails(step, "refused")
    came = asyncio.run(driver.put_back("."))
    assert not came.done
    assert "refused" in came.said
    assert "taken out" in host.include.read_text()
    (host.folder / f"{step}.fails").unlink()
    assert asyncio.run(driver.put_back(".")).done
    assert host.include.read_text() == TEXT


def test_unbound_must_list_the_zone_that_was_put_back(host: Host) -> None:
    driver = host.driver("unbound")
    assert asyncio.run(driver.take_out(".")).done
    host.says("list_auth_zones", "")
    came = asyncio.run(driver.put_back("."))
    assert not came.done
    assert ". is not among its auth-zones: none" in came.said


def test_an_older_unbound_reloads_with_an_empty_cache(host: Host) -> None:
    host.fails("reload_keep_cache", "error unknown command 'reload_keep_cache'")
    assert asyncio.run(host.driver("unbound").take_out(".")).done
    assert host.said()[1:] == [
        "control reload_keep_cache",
        "control reload",
        "control flush_zone .",
    ]


def test_whether_it_is_out_is_known_where_the_resolver_says_so(host: Host) -> None:
    def is_out(kind: str, zone: str = ".") -> bool | None:
        return asyncio.run(host.driver(kind).is_out(zone))

    assert is_out("unbound") is False
    assert is_out("unbound", "example.") is True
    host.fails("list_auth_zones", "error")
    assert is_out("unbound") is None
    assert is_out("bind") is False
    host.fails("zonestatus", "rndc: 'zonestatus' failed: not found\nno matching zone '.'")
    assert is_out("bind") is True
    host.fails("zonestatus", "rndc: connect failed: 127.0.0.1#953: connection refused")
    assert is_out("bind") is None
    assert is_out("pdns-recursor") is None


def test_without_a_file_of_its_own_a_copy_stays(host: Host) -> None:
    came = asyncio.run(driver_of(host.settings("unbound", include=False)).take_out("."))
    assert not came.done
    assert "no `include` is configured" in came.said
    assert not host.said()


# --- settings -----------------------------------------------------------------------------------


def test_no_resolver_is_flushed_unless_it_is_configured() -> None:
    assert flushing(None) == ()
    assert flushing(Flush()) == ()
    settings = Flush.model_validate({"unbound": {}, "pdns-recursor": {}})
    assert [str(driver.kind) for driver in flushing(settings)] == ["unbound", "pdns-recursor"]


@pytest.mark.parametrize(
    ("typed", "kind"),
    [
        ({"unbound": {}}, "unbound"),
        ({"bind": {}}, "bind"),
        ({"pdns-recursor": {"control": ["rec_control", "--config-name=a"]}}, "pdns-recursor"),
        ({"knot-resolver": {"sockets": ["/run/knot-resolver/control/2"]}}, "knot-resolver"),
    ],
)
def test_a_resolver_is_one_of_four(typed: dict[str, object], kind: str) -> None:
    assert driver_of(OneResolver.model_validate(typed).control).kind == kind


@pytest.mark.parametrize("typed", [{}, {"unbound": {}, "bind": {}}, {"nsd": {}}])
def test_a_resolver_is_not_none_or_two_of_them(typed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"wanted one of|Extra inputs"):
        OneResolver.model_validate(typed)
