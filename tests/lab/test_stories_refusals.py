"""What keeps the agent from starting: the exit code, the message, and nothing installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from stage import QUICK, Kernel, Stage, everything, foreign, on_stage, ours

from steering.lab.agent import STATUS_PORT
from steering.lab.network.sandbox import PYTHON
from steering.lab.network.topology import EDGE

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def host() -> Iterator[Stage]:
    """A host without an agent, shared: a refusal leaves nothing that could disturb the next."""
    with on_stage(agent=False) as stage:
        yield stage


def _run(host: Stage, *, prefix: Sequence[str] = ()) -> tuple[int, str]:
    """Exit code and words of `steering run`."""
    argv = [*prefix, PYTHON, "-m", "steering", "run", "--config", str(host.scene.config)]
    done = host.scene.world.run(EDGE, argv, check=False, timeout=20)
    return done.returncode, done.stderr


def _refused(host: Stage, *, prefix: Sequence[str] = ()) -> tuple[int, str]:
    """The same, and nothing of it was ever in the kernel."""
    before, kernel = everything(host), Kernel(host)
    code, said = _run(host, prefix=prefix)
    assert kernel.lines() == [], "not even for a moment"
    assert everything(host) == before
    assert "Traceback" not in said
    return code, said


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a good configuration that makes it bad, and what is said of it."""

    old: str
    new: str
    said: Sequence[str]
    policy: bool = False


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(Edit("mode:", "mood:", ["steering.yaml:2", "mood", "mode"]), id="unknown-key"),
        pytest.param(Edit("lease: 60s", "lease: sixty", ["steering.yaml:3", "lease"]), id="type"),
        pytest.param(Edit("lease: 60s", "lease: [60s]", ["steering.yaml:3", "lease"]), id="list"),
        pytest.param(
            Edit("ipv6: 'fd00:ff:1::2'", "ipv6: 10.9.9.9", ["next_hop.ipv6", "10.9.9.9"]),
            id="ipv4-where-ipv6-belongs",
        ),
        pytest.param(
            Edit("ipv4: 10.255.1.2", "ipv4: 192.5.6.30", ["192.5.6.30"]), id="next-hop-steered"
        ),
        pytest.param(
            Edit("192.33.14.30", "192.5.6.30", ["192.5.6.30", "gtld-servers.yaml"], policy=True),
            id="the-same-address-twice",
        ),
        pytest.param(
            Edit("to: [pao, fra]", "to: [pao, sfo]", ["sfo", "gtld-servers.yaml"], policy=True),
            id="a-site-that-is-none",
        ),
        pytest.param(
            Edit("trust_anchors: anchors", "trust_anchors: nothing", ["trust_anchors", "nothing"]),
            id="no-anchors",
        ),
        pytest.param(
            Edit("trust_anchors: anchors", "trust_anchors: steering.yaml", ["steering.yaml"]),
            id="anchors-that-are-none",
        ),
    ],
)
def test_wrong_input_is_refused_with_file_line_and_word(host: Stage, edit: Edit) -> None:
    config = host.scene.configure(QUICK)
    path = config.parent / "policies" / "gtld-servers.yaml" if edit.policy else config
    text = path.read_text()
    assert edit.old in text
    path.write_text(text.replace(edit.old, edit.new, 1))
    code, said = _refused(host)
    assert code == 2, said
    assert all(word in said for word in edit.said), said
    check = host.scene.steering("check")
    assert all(word in check for word in edit.said), check


def test_every_problem_is_said_at_once(host: Stage) -> None:
    config = host.scene.configure(QUICK)
    text = config.read_text().replace("mode: enforce", "mode: maybe").replace("lease: 60s", "x: 1")
    config.write_text(text)
    code, said = _refused(host)
    assert code == 2
    assert "steering.yaml:2" in said
    assert "steering.yaml:3" in said


@pytest.mark.parametrize(
    "prefix",
    [
        pytest.param(
            ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"],
            id="root-without-net-admin",
        ),
        pytest.param(
            [
                *("setpriv", "--reuid=65534", "--clear-groups"),
                # To read this checkout wherever it is; nothing else.
                *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
            ],
            id="another-user",
        ),
    ],
)
def test_without_the_permission_it_says_which(host: Stage, prefix: Sequence[str]) -> None:
    host.scene.configure(QUICK)
    code, said = _refused(host, prefix=prefix)
    assert code == 3, said
    assert "CAP_NET_ADMIN" in said


@contextmanager
def _in_place(host: Stage, put: str, take: str) -> Iterator[None]:
    host.sh(put)
    try:
        yield
    finally:
        host.sh(take)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        pytest.param("-4 route {} 198.18.0.0/24 via 10.255.0.2 table 5353", "5353", id="table"),
        pytest.param("-6 route {} 2001:db8::/48 via fd00:ff:0::2 table 5355", "5355", id="probes"),
        pytest.param("-4 rule {} pref 5352 from 198.18.0.1 lookup main", "5352", id="preference"),
        pytest.param("-6 rule {} pref 99 lookup 5353", "5353", id="someone-looks-up-our-table"),
        pytest.param("-4 rule {} pref 98 fwmark 0x41 lookup main", "0x41", id="mark"),
    ],
)
def test_what_others_use_already_is_not_taken(host: Stage, what: str, said: str) -> None:
    host.scene.configure(QUICK)
    with _in_place(host, f"ip {what.format('add')}", f"ip {what.format('del')}"):
        code, words = _refused(host)
    assert code == 2, words
    assert said in words
    assert "no other program uses" in words


@pytest.mark.parametrize("key", ["state", "runtime"])
def test_a_directory_that_cannot_be_written_is_named(host: Stage, key: str) -> None:
    config = host.scene.configure(QUICK)
    work = host.scene.world.work
    name = {"state": "state", "runtime": "run"}[key]
    (work / "a-file").write_text("")
    good = config.read_text()
    config.write_text(good.replace(f"{key}: {work}/{name}", f"{key}: {work}/a-file"))
    code, said = _refused(host)
    assert code == 2, said
    assert f"{key}: {work}/a-file" in said

    (work / "read-only").mkdir(exist_ok=True)
    config.write_text(good.replace(f"{key}: {work}/{name}", f"{key}: {work}/read-only"))
    mount = f"{work}/read-only"
    with _in_place(host, f"mount -t tmpfs -o ro lab {mount}", f"umount {mount}"):
        code, said = _refused(host)
    assert code in (2, 3), said
    assert "Read-only file system" in said


def test_a_second_agent_on_the_same_runtime_directory_is_refused() -> None:
    with on_stage() as stage:
        before = everything(stage)
        kernel = Kernel(stage)
        good = stage.scene.config.read_text()
        code, said = _run(stage)
        assert code == 1
        assert "another agent runs" in said
        # A file of its own: the first agent would take up what changes in the one it goes by.
        stage.scene.config = stage.scene.config.with_name("second.yaml")
        stage.scene.config.write_text(good.replace(f":{STATUS_PORT}", ":9399"))
        code, said = _run(stage)
        assert code == 1
        assert "another agent runs" in said
        assert kernel.lines() == []
        assert everything(stage) == before
        stage.steady({})


def test_the_table_of_another_configuration_s_agent_is_not_shared() -> None:
    """Two agents of one protocol number: the second has directories of its own, not a table."""
    with on_stage(replace(QUICK, more="act: {kernel: {protocol: 53}}")) as stage:
        own, others = ours(stage), foreign(stage)
        good = stage.scene.config.read_text()
        stage.scene.config = stage.scene.config.with_name("second.yaml")
        stage.scene.config.write_text(
            good.replace(f":{STATUS_PORT}", ":9399")
            .replace("protocol: 53", "protocol: 54")
            .replace(f"runtime: {stage.scene.world.work}/run", "runtime: other")
        )
        code, said = _run(stage)
        assert code == 2, said
        assert "no other program uses" in said
        assert ours(stage) == own
        assert foreign(stage) == others
