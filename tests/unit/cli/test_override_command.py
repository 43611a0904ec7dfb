"""`steering override`: nothing is put in place that was not shown, asked for and checked."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from etc import ANOTHER, POLICY, TWO_SITES, place
from served import UnixServer

from steering import cli
from steering.agent import approval
from steering.cli.override.directory import OverrideDirectory
from steering.config import fingerprint, load
from steering.config.overrides import moment
from steering.override import Action, Match
from steering.report.http.listeners import NAME
from steering.report.http.request import SERVER

BY_HAND = """\
overrides:
  - {name: by-hand, match: {family: ipv4}, action: local, until: never, reason: r, by: b}
"""
STEER = ("add", "--name", "ticket-4711", "--steer", "pao", "--upstream", "gtld-servers")
WHY = ("--for", "2h", "--reason", "stale data", "--by", "noc")


class Host:
    """A configuration, and the command as it is typed there."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys
        config = f"{TWO_SITES}state: state\nruntime: run\nstatus: 127.0.0.1:9\n"
        self.config = place(root, config, gtld=POLICY + ANOTHER)
        self.policies = root / "policies"
        self.folder = self.policies / "overrides.d"
        self.out = self.err = ""

    def type(self, *words: str) -> int:
        try:
            code = cli.main(["override", *words, "--config", str(self.config)])
        except SystemExit as stopped:  # argparse
            code = int(str(stopped.code))
        self.out, self.err = self._capsys.readouterr()
        return code

    def files(self) -> dict[str, str]:
        """Everything in overrides.d, drafts too."""
        return (
            {f.name: f.read_text() for f in self.folder.iterdir()} if self.folder.exists() else {}
        )

    def names(self) -> list[str]:
        return [override.name for override in load(self.config).overrides]


@pytest.fixture
def host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Host:
    monkeypatch.setenv("COLUMNS", "120")  # whether it fits into fewer is tried in test_terminal
    return Host(tmp_path, capsys)


@pytest.fixture
def agent(host: Host) -> Iterator[dict[str, object]]:
    """What stands for a running agent: its status, which a test may change."""
    health = {"pao": {"health": "healthy"}, "local": {"health": "failing"}}
    answer: dict[str, object] = {
        "off": False,
        "mode": "enforce",
        "overrides": [],
        "addresses": [
            {"address": "192.5.6.30", "steered_to": "fra", "rule": "steer", "paths": health},
            {"address": "192.33.14.30", "steered_to": None, "rule": "healthy", "paths": health},
        ],
    }

    class Answers(BaseHTTPRequestHandler):
        server_version, sys_version = SERVER, ""

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    (host.root / "run").mkdir(exist_ok=True)
    with UnixServer(str(host.root / "run" / NAME), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield answer
        server.shutdown()
        thread.join()


# --- add ------------------------------------------------------------------------------------


def test_what_was_typed_is_what_the_agent_will_read(host: Host) -> None:
    before = time.time()
    assert host.type(*STEER, "--family", "ipv6", *WHY, "--yes") == 0
    (override,) = load(host.config).overrides
    assert override.match == Match(upstream="gtld-servers", family=override.match.family)
    assert (override.action, override.to) == (Action.STEER, "pao")
    assert override.until is not None
    assert before + 7200 <= override.until <= time.time() + 7201
    assert (override.reason, override.by) == ("stale data", "noc")
    assert list(host.files()) == ["ticket-4711.yaml"]


@pytest.mark.parametrize(
    ("typed", "action", "to"),
    [
        (("--steer", "fra"), Action.STEER, "fra"),
        (("--avoid", "fra"), Action.AVOID, "fra"),
        (("--local",), Action.LOCAL, None),
        (("--freeze",), Action.FREEZE, None),
    ],
)
@pytest.mark.parametrize(
    ("whom", "match"),
    [
        (("--all",), Match()),
        (("--nameserver", "A.gtld-servers.net"), Match(nameserver="a.gtld-servers.net.")),
        (("--address", "192.5.6.30", "--site", "sin"), Match(address="192.5.6.30", site="sin")),
    ],
)
def test_every_kind_can_be_said(
    host: Host,
    *,
    typed: tuple[str, ...],
    action: Action,
    to: str,
    whom: tuple[str, ...],
    match: Match,
) -> None:
    words = ("add", "--name", "x", *typed, *whom, "--until", "never", "--reason", "off: 'no'")
    assert host.type(*words, "--yes") == 0
    (override,) = load(host.config).overrides
    assert (override.action, override.to, override.match) == (action, to, match)
    assert (override.until, override.reason) == (None, "off: 'no'")


def test_a_name_that_looks_like_a_number_stays_a_name(host: Host) -> None:
    for name in ("4711", "1e3", "0x10", "null", "true", "no", "2026-11-24"):
        words = ("add", "--name", name, "--freeze", "--all", "--until", "never", "--reason", "7")
        assert host.type(*words, "--yes") == 0, host.err
    assert set(host.names()) == {"4711", "1e3", "0x10", "null", "true", "no", "2026-11-24"}


def test_by_is_who_became_root(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    assert host.type(*STEER, "--until", "never", "--reason", "x", "--yes") == 0
    assert load(host.config).overrides[0].by == "anna"


def test_by_is_a_number_where_the_user_has_no_name(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SUDO_USER", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    assert host.type(*STEER, "--until", "never", "--reason", "x", "--yes") == 0
    assert load(host.config).overrides[0].by == "uid 4000000000"


def test_with_an_agent_it_shows_where_each_address_goes_and_will_go(
    host: Host, agent: dict[str, object]
) -> None:
    assert host.type(*STEER, *WHY, "--yes") == 0
    rows = [" ".join(line.split()) for line in host.out.splitlines()]
    assert "192.5.6.30 a.gtld-servers.net. fra pao none" in rows
    assert "192.33.14.30 b.gtld-servers.net. local pao none" in rows
    assert "3 addresses" in rows
    assert "CAUTION" not in host.out
    assert host.type("remove", "ticket-4711", "--yes") == 0
    rows = [" ".join(line.split()) for line in host.out.splitlines()]
    assert "192.5.6.30 a.gtld-servers.net. fra as measured ticket-4711 (steer to pao)" in rows


def test_a_path_that_is_bad_is_shouted_about_before_it_is_used(
    host: Host, agent: dict[str, object]
) -> None:
    words = ("add", "--name", "x", "--local", "--all", "--until", "never", "--reason", "r")
    assert host.type(*words, "--yes") == 0
    assert "CAUTION: local is failing for 2 of them, and will be used anyway" in host.out


def test_an_agent_that_will_not_act_is_said_to(host: Host, agent: dict[str, object]) -> None:
    agent.update(off=True, mode="observe")
    assert host.type(*STEER, *WHY, "--yes") == 0
    assert "the agent is switched off" in host.out
    assert "mode: observe" in host.out


def test_without_an_agent_it_says_so_and_goes_on(host: Host) -> None:
    assert host.type(*STEER, *WHY, "--yes") == 0
    assert "the present paths are not known: no agent answers" in host.out


def test_what_it_takes_the_word_from_and_who_keeps_it_is_shown(host: Host) -> None:
    host.folder.mkdir()
    (host.policies / "overrides.yaml").write_text(BY_HAND)
    assert host.type(*STEER, *WHY, "--yes") == 0
    assert host.out.count("by-hand (local)") == 2
    words = ("add", "--name", "a", "--freeze", "--address", "192.5.6.30", "--until", "never")
    assert host.type(*words, "--reason", "r", "--yes") == 0
    assert "no address is affected" in host.out
    assert "CAUTION: shadowed by ticket-4711, whose file is later in order" in host.out


def test_what_cannot_work_is_said_before_it_is_done(host: Host) -> None:
    words = ("add", "--name", "x", "--steer", "fra", "--all", *WHY, "--yes")
    assert host.type(*words) == 0
    assert "CAUTION: fra has no next hop for ipv6" in host.out
    assert "as measured, no next hop to fra" in host.out
    words = ("add", "--name", "y", "--local", "--address", "203.0.113.1", *WHY, "--yes")
    assert host.type(*words, "--matching-nothing") == 0
    assert 'CAUTION: matches nothing: "203.0.113.1" is in no policy' in host.out


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--upstream", "gtld"), '"gtld" is in no policy, wanted one of: gtld-servers'),
        (("--nameserver", "c.gtld-servers.net"), "is in no policy, did you mean"),
        (("--address", "203.0.113.1"), '"203.0.113.1" is in no policy'),
        (("--nameserver", "b.gtld-servers.net", "--family", "ipv6"), "no address fits all"),
    ],
)
def test_what_matches_nothing_is_refused_unless_said_so(
    host: Host, typed: tuple[str, ...], said: str
) -> None:
    words = ("add", "--name", "x", "--local", *typed, *WHY, "--yes")
    assert host.type(*words) == 2
    assert said in host.err
    assert "use --matching-nothing if that is intended" in host.err
    assert host.files() == {}
    assert host.type(*words, "--matching-nothing") == 0
    assert host.names() == ["x"]


def test_files_that_are_held_back_hold_this_one_back_too(host: Host) -> None:
    (runtime := host.root / "run").mkdir()
    approval.hold(runtime, approval.Held(version="1", because="26 steers would go", changes=()))
    assert host.type(*STEER, *WHY, "--yes") == 0
    assert "CAUTION: changed files wait for `steering reload` (26 steers would go)" in host.out


WRONG = [
    (("--name", "a/b"), '"a/b" is no name'),
    (("--name", "../../x"), "is no name"),
    (("--name", ".x"), "is no name"),
    (("--name", ""), "is no name"),
    (("--steer", "poa"), "poa is no remote site, did you mean pao?"),
    (("--steer", "sin"), "this site itself"),
    (("--site", "nowhere"), "nowhere is no site"),
    (("--address", "192.5.6.0/24"), "is no address"),
    (("--nameserver", "a..b"), "empty label"),
    (("--reason", ""), "a line of text"),
    (("--reason", "two\nlines"), "a line of text"),
    (("--reason", "half \udcff"), "half a character"),
    (("--by", "two\nlines"), "a line of text"),
    (("--until", "2020-01-01T00:00:00Z"), "ago): it would do nothing"),
    (("--until", "2030-01-32"), "RFC 3339"),
    (("--until", "tomorrow"), "RFC 3339"),
    (("--for", "2"), "a number with a unit"),
    (("--for", "999999999d"), "--for:"),
    (("--all",), "wanted at least one of --upstream"),
    (("--family", "ipv5"), "invalid choice"),
    (("--local",), "not allowed with"),
]


@pytest.mark.parametrize(("typed", "said"), WRONG)
def test_wrong_input_changes_nothing(host: Host, typed: tuple[str, ...], said: str) -> None:
    why = WHY if typed[0] not in ("--until", "--for") else WHY[2:]
    assert host.type(*STEER, *why, *typed, "--yes") == 2
    assert said in host.err
    assert host.files() == {}


@pytest.mark.parametrize("without", ["--name", "--steer", "--upstream", "--for", "--reason"])
def test_nothing_is_left_to_be_guessed(host: Host, without: str) -> None:
    words = [*STEER, *WHY, "--yes"]
    at = words.index(without)
    assert host.type(*words[:at], *words[at + 2 :]) == 2
    assert host.files() == {}


def test_to_faulty_files_nothing_is_added(host: Host) -> None:
    (host.policies / "overrides.yaml").write_text("overrides: [")
    assert host.type(*STEER, *WHY, "--yes") == 2
    assert "overrides.yaml:1: " in host.err
    assert host.files() == {}


def test_a_name_is_given_once_unless_it_is_to_be_replaced(host: Host) -> None:
    assert host.type(*STEER, *WHY, "--yes") == 0
    was = host.files()
    assert host.type(*STEER, *WHY, "--yes") == 2
    assert "see --replace" in host.err
    assert host.files() == was
    longer = ("--for", "3h", "--reason", "still", "--yes", "--replace")
    assert host.type(*STEER, *longer) == 0
    assert [o.reason for o in load(host.config).overrides] == ["still"]
    assert list(host.files()) == ["ticket-4711.yaml"]


def test_what_was_written_by_hand_is_never_replaced_or_removed(host: Host) -> None:
    (host.policies / "overrides.yaml").write_text(BY_HAND)
    host.folder.mkdir()
    two = BY_HAND.replace("by-hand", "p") + BY_HAND.replace("by-hand", "q").split("\n", 1)[1]
    (host.folder / "two.yaml").write_text(two)
    add = ("add", "--freeze", "--all", *WHY, "--yes", "--replace", "--name")
    for name in ("by-hand", "p"):
        assert host.type(*add, name) == 2
        assert "edit that file by hand" in host.err
        assert host.type("remove", name, "--yes") == 2
        assert "edit that file by hand" in host.err
    assert host.type(*add, "two") == 2
    assert "exists already" in host.err
    assert host.files() == {"two.yaml": two}


# --- asking ---------------------------------------------------------------------------------


def on_a_terminal(host: Host, answer: str, *words: str) -> tuple[int, str]:
    """Exit code and output of the command on a terminal where this is typed."""
    keys, terminal = pty.openpty()
    try:
        os.write(keys, answer.encode())
        command = [sys.executable, "-m", "steering", "override", *words]
        ran = subprocess.run(
            [*command, "--config", str(host.config)],
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        os.close(keys)
        os.close(terminal)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize("answer", ["n\n", "\n", "yep\n", "\x04"])
def test_anything_but_yes_is_no(host: Host, answer: str) -> None:
    code, said = on_a_terminal(host, answer, *STEER, *WHY)
    assert (code, host.files()) == (1, {})
    assert "add it? [y/N]" in said
    assert "nothing was changed" in said


def test_yes_is_yes(host: Host) -> None:
    assert on_a_terminal(host, "y\n", *STEER, *WHY)[0] == 0
    assert host.names() == ["ticket-4711"]
    assert on_a_terminal(host, "Yes\n", "remove", "ticket-4711")[0] == 0
    assert host.files() == {}


def test_where_nobody_can_be_asked_yes_has_to_be_typed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert host.type(*STEER, *WHY) == 2
        assert "use --yes" in host.err
        assert host.files() == {}


def test_what_nobody_can_see_is_not_done_and_that_is_said(host: Host) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    words = ["override", *STEER, *WHY, "--yes", "--config", str(host.config)]
    with os.fdopen(writes, "wb") as nobody:
        ran = subprocess.run(
            [sys.executable, "-m", "steering", *words], stdout=nobody, stderr=subprocess.PIPE
        )
    assert ran.stderr.decode() == (
        "steering: what would change can't be shown: nothing was changed\n"
    )
    assert ran.returncode == cli.FAILED
    assert host.files() == {}


# --- extend ---------------------------------------------------------------------------------


def test_extend_gives_another_end_and_changes_nothing_else(host: Host) -> None:
    assert host.type(*STEER, "--family", "ipv6", *WHY, "--yes") == 0
    (was,) = load(host.config).overrides
    assert host.type("extend", "ticket-4711", "--for", "4h", "--yes") == 0
    assert host.out.startswith("was: ")
    (now,) = load(host.config).overrides
    assert was.until is not None
    assert now.until is not None
    assert 7190 < now.until - was.until < 7260
    assert replace(now, until=was.until) == was
    assert list(host.files()) == ["ticket-4711.yaml"]


def test_an_end_that_is_sooner_is_said(host: Host) -> None:
    assert host.type(*STEER, *WHY, "--yes") == 0
    assert host.type("extend", "ticket-4711", "--for", "30m", "--yes") == 0
    assert "CAUTION: that is sooner than before" in host.out
    assert host.type("extend", "ticket-4711", "--for", "40m", "--yes") == 0
    assert "CAUTION: that" not in host.out


def test_extend_asks_and_changes_nothing_where_it_can_not(host: Host) -> None:
    assert host.type("extend", "ticket-4711", "--for", "4h", "--yes") == 2
    assert "there is no override ticket-4711" in host.err
    assert host.type(*STEER, *WHY, "--yes") == 0
    before = host.files()
    assert host.type("extend", "ticket-4711", "--for", "4h") == 2  # no terminal
    assert host.type("extend", "ticket-4711", "--until", "2020-01-01T00:00:00Z", "--yes") == 2
    assert "it would do nothing" in host.err
    assert host.files() == before
    (host.policies / "overrides.yaml").write_text(BY_HAND)
    assert host.type("extend", "by-hand", "--for", "4h", "--yes") == 2
    assert "edit that file by hand" in host.err


def test_an_acknowledgement_can_be_extended_and_a_time_of_day_is_the_next_one(host: Host) -> None:
    assert host.type("acknowledge", "reach", *WHY, "--yes") == 0
    in_a_minute = time.strftime("%H:%M", time.gmtime(time.time() + 120))
    assert host.type("extend", "seen-reach", "--until", in_a_minute, "--yes") == 0
    (now,) = load(host.config).overrides
    assert now.until is not None
    assert 0 < now.until - time.time() < 121
    assert now.alarm == "reach"


# --- remove ---------------------------------------------------------------------------------


def test_what_was_added_is_removed(host: Host) -> None:
    assert host.type(*STEER, *WHY, "--yes") == 0
    assert host.type("remove", "ticket-4711", "--yes") == 0
    assert host.files() == {}
    assert host.type("remove", "ticket-4711", "--yes") == 2


def test_a_slip_in_a_name_removes_nothing(host: Host) -> None:
    assert host.type(*STEER, *WHY, "--yes") == 0
    assert host.type("remove", "ticket-4712", "--yes") == 2
    assert "did you mean ticket-4711?" in host.err
    assert host.type("remove", "../gtld", "--yes") == 2
    assert list(host.files()) == ["ticket-4711.yaml"]


def test_a_file_that_breaks_all_of_them_can_be_removed(host: Host) -> None:
    assert host.type(*STEER, *WHY, "--yes") == 0
    (host.folder / "broken.yaml").write_text("overrides: [")
    assert host.type("remove", "ticket-4711", "--yes") == 2, "it is not what is broken"
    assert host.type("list") == 2
    assert host.type("remove", "broken", "--yes") == 0
    assert "broken.yaml:1: " in host.err
    assert host.names() == ["ticket-4711"]


# --- what goes wrong on the way -------------------------------------------------------------


def test_a_full_disk_leaves_everything_as_it_was(host: Host) -> None:
    assert host.type(*STEER, *WHY, "--yes") == 0
    was = host.files()
    steering = [sys.executable, "-B", "-m", "steering"]
    words = ["override", *STEER, *WHY, "--yes", "--replace", "--config", str(host.config)]
    ran = subprocess.run(
        ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *steering, *words],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 1, ran.stderr
    assert "ticket-4711.yaml" in ran.stderr
    assert "File too large" in ran.stderr
    assert host.files() == was


def test_without_permission_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    root = Path(tempfile.mkdtemp())
    try:
        root.chmod(0o755)
        host = Host(root, capsys)
        os.seteuid(65534)
        assert host.type(*STEER, *WHY, "--yes") == 3
        assert "not permitted" in host.err
        assert not host.folder.exists()
        os.seteuid(0)
        host.folder.mkdir()
        os.seteuid(65534)
        assert host.type(*STEER, *WHY, "--yes") == 3
        os.seteuid(0)
        assert host.files() == {}
        assert host.type(*STEER, *WHY, "--yes") == 0
        os.seteuid(65534)
        assert host.type("list") == 0, "looking is free"
        assert host.type("remove", "ticket-4711", "--yes") == 3
        os.seteuid(0)
        assert host.names() == ["ticket-4711"]
    finally:
        os.seteuid(0)
        shutil.rmtree(root)


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o700, 0o775])
def test_a_file_belongs_to_whom_its_directory_belongs(host: Host, mode: int) -> None:
    host.policies.chmod(mode)
    if os.geteuid() == 0:
        os.chown(host.policies, 65534, 65533)
    assert host.type(*STEER, *WHY, "--yes") == 0
    above, folder = host.policies.stat(), host.folder.stat()
    file = (host.folder / "ticket-4711.yaml").stat()
    assert stat.S_IMODE(folder.st_mode) == mode
    assert stat.S_IMODE(file.st_mode) == mode & 0o666
    owners = {(s.st_uid, s.st_gid) for s in (above, folder, file)}
    assert len(owners) == 1


def test_a_draft_of_one_that_was_killed_is_in_nobodys_way(host: Host) -> None:
    host.folder.mkdir()
    (host.folder / ".ticket-4711.draft").symlink_to(host.config)
    config = host.config.read_text()
    assert host.type(*STEER, *WHY, "--yes") == 0
    assert list(host.files()) == ["ticket-4711.yaml"]
    assert host.config.read_text() == config


@pytest.mark.long
def test_of_two_who_add_the_same_name_at_once_one_is_told(host: Host) -> None:
    command = [sys.executable, "-m", "steering", "override", *STEER, "--for", "2h", "--yes"]

    def add(reason: str) -> int:
        words = [*command, "--reason", reason, "--config", str(host.config)]
        return subprocess.run(words, capture_output=True, timeout=60).returncode

    with ThreadPoolExecutor() as pool:
        codes = list(pool.map(add, ("one", "two", "three")))
    assert sorted(codes) == [0, 2, 2]
    (override,) = load(host.config).overrides
    assert override.reason == ("one", "two", "three")[codes.index(0)]
    assert list(host.files()) == ["ticket-4711.yaml"]


def test_who_waits_for_another_is_told_in_the_end(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steering.cli.override.directory._WAITS", 0.05)
    with OverrideDirectory(host.policies).alone():
        assert host.type(*STEER, *WHY, "--yes") == 1
    assert "another command has been writing" in host.err
    assert host.files() == {}


# --- list -----------------------------------------------------------------------------------


def test_the_list_tells_what_each_comes_to(host: Host) -> None:
    assert host.type("list") == 0
    assert host.out.startswith("no overrides\nnot known whether the agent uses them: no agent")
    ever = "until: never, reason: r, by: b}\n"
    past = ever.replace("never", "2020-01-01T00:00:00Z")
    (host.policies / "overrides.yaml").write_text(
        f"{BY_HAND}"
        f"  - {{name: old, match: {{}}, action: freeze, {past}"
        f"  - {{name: none, match: {{upstream: x}}, action: freeze, {ever}"
        f"  - {{name: far, match: {{site: pao}}, action: freeze, {ever}"
        f"  - {{name: not-fra, match: {{}}, action: avoid, to: fra, {ever}"
    )
    assert host.type(*STEER, "--address", "192.5.6.30", *WHY, "--yes") == 0
    assert host.type("list") == 0
    paragraphs = re.split(r"\n(?=\S)", host.out)
    rows = {text.split(":")[0]: " ".join(text.split()) for text in paragraphs}
    assert "shadowed by ticket-4711, not-fra" in rows["by-hand"], "`avoid` ends what was said"
    assert "ended" in rows["old"]
    assert re.search(r"ended [0-9]+ d.* ago", rows["old"]), "ages, not dates"
    assert "matches nothing" in rows["none"]
    assert "for site pao" in rows["far"]
    assert "in force" in rows["not-fra"], "a steer to elsewhere leaves it standing"
    assert "in force" in rows["ticket-4711"]
    assert "in 1 h 59 min" in rows["ticket-4711"] or "in 2 h" in rows["ticket-4711"]
    assert "192.5.6.30" in rows["ticket-4711"]


def test_the_list_is_data_too(host: Host) -> None:
    assert host.type(*STEER, *WHY, "--yes") == 0
    words = ("add", "--name", "u", "--local", "--address", "192.5.6.30", "--until", "never")
    assert host.type(*words, "--reason", "r", "--by", "b", "--yes") == 0
    assert host.type("list", "--json") == 0
    first, second = json.loads(host.out)
    assert second == {
        "name": "u",
        "match": {"address": "192.5.6.30"},
        "action": "local",
        "to": None,
        "until": None,
        "left_s": None,
        "active": True,
        "state": "active",
        "reason": "r",
        "by": "b",
        "file": str(host.folder / "u.yaml"),
        "covers": ["192.5.6.30"],
        "decides": ["192.5.6.30"],
        "shadowed_by": [],
    }
    assert first["shadowed_by"] == ["u"]
    assert set(first["covers"]) - set(first["decides"]) == {"192.5.6.30"}
    assert 7190 <= first["left_s"] <= 7201
    assert abs(moment(first["until"]) - time.time() - first["left_s"]) < 5
    assert host.type("list", "u", "--json") == 0
    assert [o["name"] for o in json.loads(host.out)] == ["u"]
    assert host.type("list", "--names") == 0
    assert host.out == "ticket-4711\nu\n"


def test_the_list_tells_whether_the_agent_goes_by_it(host: Host, agent: dict[str, object]) -> None:
    assert host.type("list") == 0
    assert "the running agent uses these" in host.out
    assert host.type(*STEER, *WHY, "--yes") == 0
    assert host.type("list") == 0
    assert "CAUTION: the running agent does not use these, or not yet: it has none" in host.out
    assert host.type("list", "--json") == 0
    agent["overrides"] = json.loads(host.out)
    assert host.type("list") == 0
    assert "the running agent uses these" in host.out
    assert host.type(*STEER, "--until", "never", "--reason", "x", "--replace", "--yes") == 0
    assert host.type("list") == 0
    assert "does not use these, or not yet: it has ticket-4711" in host.out


def test_one_is_shown_with_all_its_addresses(host: Host) -> None:
    assert host.type(*STEER, *WHY, "--yes") == 0
    assert host.type("list", "ticket-4711") == 0
    for address in ("192.5.6.30", "192.33.14.30", "2001:503:a83e::2:30"):
        assert f"   {address}\n" in host.out
    assert host.type("list", "ticket-4712") == 2


# --- while others write too -----------------------------------------------------------------


def test_the_agent_need_not_wait_to_see_these_files_lie_still(host: Host) -> None:
    (runtime := host.root / "run").mkdir()
    for words in ((*STEER, *WHY), ("remove", "ticket-4711")):
        assert host.type(*words, "--yes") == 0
        assert approval.whole(runtime, fingerprint(host.config))
    (host.policies / "gtld.yaml").write_text(POLICY + ANOTHER + "skew: 1s\n")
    assert not approval.whole(runtime, fingerprint(host.config)), "others were not seen"


def test_a_policy_that_was_changed_meanwhile_is_not_let_pass_with_an_override(host: Host) -> None:
    (runtime := host.root / "run").mkdir()
    (host.policies / "gtld.yaml").write_text(POLICY + ANOTHER + "skew: 1s\n")
    for words in ((*STEER, *WHY), ("remove", "ticket-4711")):
        assert host.type(*words, "--yes") == 0
        assert not approval.accepted(runtime, fingerprint(host.config))


def test_where_others_wait_for_a_word_this_is_none_for_them(host: Host) -> None:
    (runtime := host.root / "run").mkdir()
    approval.hold(runtime, approval.Held(version="1", because="26 steers would go", changes=()))
    assert host.type(*STEER, *WHY, "--yes") == 0
    assert not approval.accepted(runtime, fingerprint(host.config))


def test_what_changed_while_one_was_asked_is_not_what_was_shown(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def thinks(_prompt: str) -> str:
        (host.policies / "overrides.yaml").write_text(BY_HAND)
        return "y"

    monkeypatch.setattr("builtins.input", thinks)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert host.type(*STEER, *WHY) == 1
    assert "the files have changed meanwhile: nothing was changed" in host.err
    assert host.files() == {}
    assert host.type(*STEER, *WHY) == 0
    (host.policies / "overrides.yaml").unlink()
    assert host.type("remove", "ticket-4711") == 1
    assert host.names() == ["by-hand", "ticket-4711"]


@pytest.mark.long
def test_of_many_who_add_at_once_nobody_is_lost(host: Host) -> None:
    command = [sys.executable, "-m", "steering", "override", "add", "--all", "--freeze", *WHY]

    def add(name: str) -> int:
        words = [*command, "--yes", "--name", name, "--config", str(host.config)]
        return subprocess.run(words, capture_output=True, timeout=60).returncode

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(add, "abcd")) == [0] * 4
    assert host.names() == ["a", "b", "c", "d"]
