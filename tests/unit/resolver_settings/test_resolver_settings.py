"""What makes a resolver's copy of a zone dangerous is read in the resolver's own files."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from steering.config.resolvers import (
    BindControl,
    Control,
    KnotControl,
    PowerDnsControl,
    UnboundControl,
)
from steering.resolver_settings import dangers
from steering.resolver_settings.dangers import LARGEST, MOST_DANGERS

KINDS: dict[str, type[Control]] = {
    "unbound": UnboundControl,
    "bind": BindControl,
    "pdns-recursor": PowerDnsControl,
    "knot-resolver": KnotControl,
}

GOOD = {
    "unbound": 'server:\n  module-config: "validator iterator"\nauth-zone:\n  name: "."\n'
    "  primary: 192.0.32.132\n  fallback-enabled: yes\n  for-downstream: no\n"
    '  zonemd-check: yes\n  zonefile: "root.zone"\n',
    "bind": 'options { directory "/tmp"; };\nzone "." { type mirror; };\n',
    "pdns-recursor": "dnssec=validate\nlua-config-file=copy.lua\n",
    "knot-resolver": "modules.load('prefill')\n"
    "prefill.config({['.'] = { url = 'https://x.example/root.zone', interval = 24 * 60 * 60 }})\n",
}
GOOD_LUA = 'zoneToCache(".", "axfr", "192.0.32.132", {zonemd="require", refreshPeriod=3600})\n'


def said(
    kind: str,
    folder: Path,
    text: str,
    *,
    renewed: Iterable[Path] = (),
    zone: str = ".",
    **others: str,
) -> list[str]:
    """The dangers in a file with this text: `line: what`, or `file:line: what` for other files."""
    main = folder / "main.conf"
    main.write_text(text)
    for name, content in others.items():
        (folder / name.replace("__", ".")).write_text(content)
    return [
        str(danger).replace(f"{main}:", "").replace(f"{folder}/", "")
        for danger in dangers(KINDS[kind], main, zone, renewed=list(renewed))
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_configuration_is_no_danger(kind: str, tmp_path: Path) -> None:
    assert not said(kind, tmp_path, GOOD[kind], copy__lua=GOOD_LUA)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resolver_without_the_copy_is_said_to_have_none(kind: str, tmp_path: Path) -> None:
    (only,) = said(kind, tmp_path, GOOD[kind], copy__lua=GOOD_LUA, zone="example.")
    assert "no copy is in use now" in only


# --- Unbound ------------------------------------------------------------------------------------


def test_unbound_s_defaults_are_dangerous(tmp_path: Path) -> None:
    found = said("unbound", tmp_path, 'auth-zone:\n  name: "."\n  zonefile: "root.zone"\n')
    said_of, fails = '1: auth-zone ".":', "every uncached name fails when the copy expires"
    assert [danger.partition(";")[0] for danger in found] == [
        f"{said_of} fallback-enabled is no (the default): {fails}",
        f"{said_of} for-downstream is yes (the default): clients get its data without validation",
        f"{said_of} zonemd-check is no (the default): a copy with a wrong digest is served",
        '3: auth-zone ".": nothing renews root.zone, so its signatures run out while it is served',
    ]


def test_the_last_value_of_a_key_counts_and_its_line_is_named(tmp_path: Path) -> None:
    text = GOOD["unbound"] + "  fallback-enabled: no # of late\n"
    (only,) = said("unbound", tmp_path, text)
    assert only.startswith('10: auth-zone ".": fallback-enabled is no: every uncached name')


def test_a_file_that_the_agent_publishes_is_renewed(tmp_path: Path) -> None:
    text = GOOD["unbound"].replace("  primary: 192.0.32.132\n", "")
    assert "nothing renews root.zone" in said("unbound", tmp_path, text)[0]
    assert not said("unbound", tmp_path, text, renewed=[tmp_path / "root.zone"])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("  zonemd-reject-absence: yes\n", "the first transfer is refused"),
        ("  for-upstream: no\n", "resolution does not use it"),
        ("server:\n module-config: 'iterator'\n", "neither the copy nor its ZONEMD is verified"),
        ("stub-zone:\n name: .\n stub-addr: 127.0.0.1@5300\n", "stub-first is no"),
    ],
)
def test_unbound_s_other_dangers(line: str, what: str, tmp_path: Path) -> None:
    (only,) = said("unbound", tmp_path, GOOD["unbound"] + line)
    assert what in only


def test_includes_are_followed_and_a_danger_is_said_of_the_included_file(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/b.conf").write_text(
        GOOD["unbound"].replace("  zonemd-check: yes\n", "\n  zonemd-check: no\n")
    )
    (tmp_path / "conf.d/a.conf").write_text("server:\n verbosity: 1\n")
    found = said("unbound", tmp_path, 'include-toplevel: "conf.d/*.conf"\n')
    assert [danger[:40] for danger in found] == ['conf.d/b.conf:9: auth-zone ".": zonemd-c']


def test_an_include_within_a_clause_belongs_to_the_clause(tmp_path: Path) -> None:
    text = GOOD["unbound"].replace("  zonemd-check: yes\n", "  include: more__conf\n")
    text = text.replace("__", ".")
    assert not said("unbound", tmp_path, text, more__conf="zonemd-check: yes\n")


def test_values_that_look_like_keys_or_comments_are_values(tmp_path: Path) -> None:
    text = GOOD["unbound"].replace("primary: 192.0.32.132", "url: https://x.example/root.zone#a")
    assert not said("unbound", tmp_path, text + '  zonefile: "#not:a"\n')


# --- BIND ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "whats"),
    [
        ('zone "." { type secondary; };', ["every name fails when the copy expires"]),
        (
            'zone "." in { type primary; file "root.zone"; };',
            ["nothing renews root.zone", "nothing falls back"],
        ),
        (
            "options {dnssec-validation no; dnssec-accept-expired yes; };\nzone . {type mirror; };",
            ["answers with expired signatures are good", "no copy is verified"],
        ),
        (
            'view v { zone "." { type mirror; request-expire no; min-refresh-time 2d; }; };',
            ["however old the primary's copy", "min-refresh-time is 2d: a new serial"],
        ),
        ('zone "." { type mirror; dialup passive; };', ["dialup holds back its refresh"]),
        ('zone "." { type hint; file "hints"; };', ["no copy is in use now"]),
    ],
)
def test_bind_s_dangers(text: str, whats: list[str], tmp_path: Path) -> None:
    found = said("bind", tmp_path, text)
    assert len(found) == len(whats), found
    for what in whats:
        assert any(what in danger for danger in found), (what, found)


def test_bind_s_comments_are_not_read(tmp_path: Path) -> None:
    text = '/* zone "." { type\n secondary; }; */ // {\n# }\n' + GOOD["bind"]
    assert not said("bind", tmp_path, text)


def test_bind_s_includes_stand_anywhere(tmp_path: Path) -> None:
    text = 'include "zones";\noptions { include "opts"; };\n'
    found = said(
        "bind", tmp_path, text, zones='zone "." { type mirror; };', opts="request-expire no;"
    )
    assert [danger[:27] for danger in found] == ['opts:1: zone ".": request-e']


# --- PowerDNS Recursor --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "whats"),
    [
        ('"axfr", "192.0.2.1", {zonemd = "ignore"}', ["zonemd is ignore"]),
        ("'axfr', '192.0.2.1', {dnssec='ignore', zonemd='ignore'}", ["dnssec is", "zonemd is"]),
        ('"url", "https://x.example/", { refreshPeriod = 0 }', ["never loaded anew"]),
        ('"url", "https://x.example/", { refreshPeriod = 7 * 24*3600 }', ["seldom loaded anew"]),
        ('"url", "https://x.example/", { refreshPeriod = period() }', []),
        ('"url", "https://x.example/", { refreshPeriod = 0x0 }', ["never loaded anew"]),
        ('"url", "https://x.example/", { refreshPeriod = 0099999 }', ["seldom loaded anew"]),
        ('"file", "/var/root.zone", {}', ["nothing renews /var/root.zone"]),
        ('"file", "/var/root.zone"', ["nothing renews /var/root.zone"]),
    ],
)
def test_what_is_dangerous_in_a_zone_to_cache(
    settings: str, whats: list[str], tmp_path: Path
) -> None:
    lua = f'-- zoneToCache("x")\n--[[ zoneToCache(".") ]]\nzoneToCache(".", {settings})\n'
    found = said("pdns-recursor", tmp_path, GOOD["pdns-recursor"], copy__lua=lua)
    assert len(found) == len(whats), found
    for what, danger in zip(whats, found, strict=True):
        assert danger.startswith("copy.lua:3: zoneToCache")
        assert what in danger


def test_a_zone_served_from_a_file_by_the_recursor_is_dangerous(tmp_path: Path) -> None:
    found = said("pdns-recursor", tmp_path, "auth-zones=a.=/a, \\\n .=/root.zone # x\ndnssec=off\n")
    assert [danger[:30] for danger in found] == [
        '1: auth-zones ".": clients get',
        '1: auth-zones ".": nothing ren',
        "3: dnssec is off: neither a co",
    ]


def test_the_recursor_s_yaml_has_the_same_dangers(tmp_path: Path) -> None:
    found = said(
        "pdns-recursor",
        tmp_path,
        "recordcache:\n  zonetocaches:\n  - zone: .\n    method: file\n    sources: [/r]\n"
        "    zonemd: ignore\n    refreshPeriod: 0\ndnssec: {validation: process-no-validate}\n"
        "recursor:\n  lua_config_file: copy.lua\n  auth_zones: [{zone: ., file: /r}]\n",
        copy__lua=GOOD_LUA,
    )
    for what in ("zonemd is ignore", "never loaded", "renews /r", "dnssec is process-no-val"):
        assert any(what in danger for danger in found), what
    assert not any("copy.lua" in danger for danger in found)


# --- Knot Resolver ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "whats"),
    [
        ("modules = { prefill = { ['.'] = { url = 'https://x/', interval = 1 * day } } }",
         ["interval is 86400000"]),
        ("prefill.config({['.'] = { interval = 86400 }})", ["url is missing"]),
        ('prefill.config{["."] = { url = "file:///root.zone" }}', ["the module does not load"]),
        ("prefill.config(mine)", []),
        (GOOD["knot-resolver"] + "modules.unload('prefill')\n", ["no copy is in use now"]),
        (GOOD["knot-resolver"] + "trust_anchors.set_insecure({ '.' })\n", ["is insecure here"]),
        ("dofile('copy.lua')", ["url is missing"]),
    ],
)  # fmt: skip
def test_knot_s_dangers(text: str, whats: list[str], tmp_path: Path) -> None:
    other = "prefill.config({['.'] = {}})"
    found = said("knot-resolver", tmp_path, text, copy__lua=other)
    assert len(found) == len(whats), found
    assert all(what in danger for what, danger in zip(whats, found, strict=True)), found


# --- files that can't be read -------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file_is_said(kind: str, tmp_path: Path) -> None:
    found = dangers(KINDS[kind], tmp_path / "none", ".")
    assert any("is not there, wanted a resolver's configuration" in str(d) for d in found)


@pytest.mark.parametrize(
    ("kind", "text", "what"),
    [
        ("unbound", 'server:\n chroot: "/x\n', "2: a quote is not closed"),
        ("unbound", "zonemd-check: yes\n", "1: zonemd-check: stands in no clause"),
        ("bind", 'zone "." {\n', "1: a '{' is not closed"),
        ("bind", "options {};\n}\n", "2: a '}' closes nothing"),
        ("bind", "options {}; /* \n", "1: a quote or a comment that begins here is not closed"),
        ("bind", 'zone "." {type mirror;}', "1: a ';' is missing"),
        ("bind", "{" * 100_000, "1: more than 64 blocks lie in each other"),
        ("pdns-recursor", "dnssec\n", "1: is no setting, wanted key=value"),
        ("pdns-recursor", "recursor:\n\t- [\n", "2: a tab where YAML wants spaces"),
        ("knot-resolver", "\nprefill.config('.\n", "2: a quote is not closed"),
    ],
)
def test_a_broken_file_has_a_clear_word(kind: str, text: str, what: str, tmp_path: Path) -> None:
    found = said(kind, tmp_path, text)
    assert any(danger.startswith(what) for danger in found), found


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("unbound", "server:\ninclude: {}\n"),
        ("bind", 'include "{}";\n'),
        ("pdns-recursor", "lua-config-file={}\n"),
        ("knot-resolver", "dofile('{}')\n"),
    ],
)
def test_an_include_that_leads_nowhere_or_to_itself_is_said_and_ends(
    kind: str, text: str, tmp_path: Path
) -> None:
    where = text.count("\n")
    found = said(kind, tmp_path, text.format("none.conf"))
    assert any(d.startswith(f"{where}: none.conf is not there") for d in found), found
    if kind == "pdns-recursor":
        (tmp_path / "round.lua").write_text("dofile('round.lua')")
        found = said(kind, tmp_path, text.format("round.lua"))
    else:
        found = said(kind, tmp_path, text.format("main.conf"))
    assert any("includes itself" in d for d in found), found


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_a_huge_file_and_no_text_are_not_read(kind: str, tmp_path: Path) -> None:
    for name, what in (("pipe", "regular"), ("huge", "at most"), ("binary", "is not text")):
        file = tmp_path / name
        if name == "pipe":
            os.mkfifo(file)
        elif name == "huge":
            with file.open("wb") as made:
                made.truncate(LARGEST + 1)
        else:
            file.write_bytes(b"\x7fELF\0\0")
        assert any(what in str(danger) for danger in dangers(KINDS[kind], file, ".")), name


@pytest.mark.parametrize("kind", KINDS)
def test_spoiled_files_end_in_words_and_few_of_them(kind: str, tmp_path: Path) -> None:
    """The reader of a broken file says something, soon, and never fails."""
    rng = random.Random(kind)
    marks = ["{", "}", "(", ")", "[[", "]]", '"', "'", ";", ":", "=", "\\", "--[[", "/*", "\0", "é"]
    for _ in range(300):
        text = list(GOOD[kind] + GOOD_LUA)
        for _ in range(rng.randrange(1, 9)):
            text[rng.randrange(len(text))] = rng.choice(marks)
        main = tmp_path / "main.conf"
        main.write_text("".join(text))
        found = dangers(KINDS[kind], main, ".")
        assert len(found) <= MOST_DANGERS
        assert all(str(danger).isprintable() for danger in found)


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    found = said("unbound", tmp_path, 'auth-zone:\n name: "."\n zonemd-check: "\x1b[2J"\n')
    assert not any("\x1b" in danger for danger in found)
    assert any(r"zonemd-check is \x1b[2J" in danger for danger in found)


# --- beside the resolvers' own checkers ---------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "argv"),
    [("unbound", ["unbound-checkconf"]), ("bind", ["named-checkconf"])],
)
def test_the_good_configuration_is_one_that_the_resolver_takes(
    kind: str, argv: list[str], tmp_path: Path
) -> None:
    path = f"{os.environ['PATH']}:/usr/sbin"
    if (program := shutil.which(argv[0], path=path)) is None:
        pytest.skip(f"{argv[0]} is not installed")
    text = GOOD[kind]
    if kind == "unbound":
        text = text.replace("server:\n", 'server:\n chroot: ""\n username: ""\n directory: "/"\n')
    (tmp_path / "main.conf").write_text(text)
    done = subprocess.run([program, tmp_path / "main.conf"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not said(kind, tmp_path, text)
