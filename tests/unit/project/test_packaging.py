"""What a stranger gets: the wheel, the unit, the set-up of a checkout."""

from __future__ import annotations

import ast
import configparser
import ctypes
import functools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Once

import steering

ROOT = Path(__file__).parents[3]
UNIT = ROOT / "systemd/steering.service"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

IMPORTED_AS = {"dnspython": "dns", "PyYAML": "yaml", "prometheus-client": "prometheus_client"}
COMES_WITH = {"dns": {"cryptography"}, "pydantic": {"pydantic_core"}}  # dnspython[dnssec]
FOR_TYPES = {"mypy_extensions"}  # comes with mypy, never imported at run time
_PR_SET_MDWE, _REFUSE_EXEC_GAIN = 65, 1  # linux/prctl.h


# --- the wheel ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def installed(wheel: Path, once: Once) -> Path:
    """A fresh environment with the wheel in it; what it requires is borrowed from ours."""

    def install(place: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(place / "bin/python")]
        command = [*pip, "install", "--no-deps", "--no-index", "--disable-pip-version-check"]
        subprocess.run([*command, str(wheel)], check=True, capture_output=True, text=True)

    return once("opt", install)


def run(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed command, away from the checkout. Ours in PYTHONPATH is no site directory,
    so the editable package of this checkout is not on it.
    """
    return subprocess.run(
        [str(place / "bin/steering"), *words],
        env={"PATH": os.defpath, "PYTHONPATH": sysconfig.get_path("purelib")},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.long
def test_the_wheel_holds_the_package_and_what_an_operator_copies(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        data = f"upstream_steering-{steering.__version__}.data/data/"
        for shipped, source in {
            "share/steering/steering.yaml": "policies/steering.yaml.example",
            "share/steering/policies/root-servers.yaml": "policies/root-servers.yaml",
            "share/steering/policies/gtld-servers.yaml": "policies/gtld-servers.yaml",
            "share/steering/scenarios/july-2023.yaml": "scenarios/july-2023.yaml",
            "lib/systemd/system/steering.service": "systemd/steering.service",
            "lib/sysusers.d/steering-bgp.conf": "systemd/steering-bgp.conf",
        }.items():
            assert archive.read(data + shipped) == (ROOT / source).read_bytes()
    assert {"steering/cli/parser.py", "steering/py.typed", "steering/act/guard.py"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    others = {n.split("/")[0] for n in names} - {"steering"}
    assert all(name.startswith("upstream_steering-") for name in others), others


@pytest.mark.long
def test_the_installed_command_runs_without_the_checkout(installed: Path) -> None:
    ran = run(installed, "--version")
    assert (ran.stdout, ran.returncode) == (f"steering {steering.__version__}\n", 0), ran.stderr
    where = subprocess.run(
        [installed / "bin/python", "-c", "import steering; print(steering.__file__)"],
        cwd=installed,
        check=True,
        capture_output=True,
        text=True,
    )
    assert where.stdout.startswith(str(installed))


@pytest.mark.long
def test_the_shipped_configuration_passes_the_check_once_copied(
    installed: Path, tmp_path: Path
) -> None:
    etc = tmp_path / "etc"
    shutil.copytree(installed / "share/steering", etc)
    configuration = etc / "steering.yaml"
    text = configuration.read_text()
    text = re.sub(r"(?m)^(state|runtime): \S+", rf"\1: {tmp_path}/\1", text)
    configuration.write_text(text)
    ran = run(installed, "check", "--config", str(configuration))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{configuration}: fine: 2 upstreams, 52 addresses")


@pytest.mark.long
def test_a_shipped_story_can_be_told_from_where_it_is_installed(installed: Path) -> None:
    shipped = installed / "share/steering/scenarios/maintenance.yaml"
    text = shipped.read_text()
    story = shipped.with_name("short.yaml")
    story.write_text(
        text.replace("lasts: 3h", "lasts: 5s").replace("80m", "4s").replace("60m", "3s")
    )
    ran = run(installed, "replay", "--scenario", str(story))
    assert ran.returncode == 0, ran.stderr
    assert "a maintenance with an override" in ran.stdout


# --- requirements ---------------------------------------------------------------------------


@functools.cache
def imported() -> dict[str, set[str]]:
    """Module from elsewhere -> the folders of the package that import it."""
    found: dict[str, set[str]] = {}
    for source in (ROOT / "steering").rglob("*.py"):
        folder = source.relative_to(ROOT / "steering").parts[0]
        for node in ast.walk(ast.parse(source.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module]
                if isinstance(node, ast.ImportFrom) and node.module and not node.level
                else []
            )
            for name in names:
                found.setdefault(name.split(".")[0], set()).add(folder)
    return {k: v for k, v in found.items() if k not in sys.stdlib_module_names | {"steering"}}


def modules(requirements: list[str]) -> set[str]:
    names = [re.split(r"[\[<>=~ ]", text, maxsplit=1)[0] for text in requirements]
    return {IMPORTED_AS.get(name, name) for name in names}


def test_what_is_required_is_imported_and_what_is_imported_is_required() -> None:
    required = modules(PROJECT["dependencies"])
    for_the_demo = modules(PROJECT["optional-dependencies"]["demo"])
    along = set().union(*(COMES_WITH.get(module, set()) for module in required))
    assert required <= imported().keys()
    assert imported().keys() - along - FOR_TYPES <= required | for_the_demo
    for module in for_the_demo:
        assert imported()[module] == {"lab"}, "the agent runs without the demo's requirements"


# --- the unit -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return parser


def in_seconds(text: str) -> float:
    number = re.fullmatch(r"(\d+)s", text)
    assert number, text
    return float(number[1])


def test_the_guard_outlives_a_stop_and_finds_its_lease(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    assert service["KillMode"] == "process"
    assert service["OOMPolicy"] == "continue"
    assert (service["RuntimeDirectory"], service["RuntimeDirectoryPreserve"]) == ("steering", "yes")
    assert service["StateDirectory"] == "steering"


def test_a_restart_is_well_within_the_lease(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    assert service["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    wait = in_seconds(service["RestartSec"]) + in_seconds(service["TimeoutStopSec"])
    assert wait <= 60 / 4, "the default lease is 60 s"


def test_no_restart_mends_a_wrong_configuration(unit: configparser.ConfigParser) -> None:
    from steering.cli import NOT_PERMITTED, WRONG_INPUT

    codes = unit["Service"]["RestartPreventExitStatus"].split()
    assert codes == [str(WRONG_INPUT), str(NOT_PERMITTED)]


def test_the_unit_gives_one_capability_and_all_the_sockets_needed(
    unit: configparser.ConfigParser,
) -> None:
    service = unit["Service"]
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == "CAP_NET_ADMIN"
    assert set(service["RestrictAddressFamilies"].split()) == {
        "AF_INET",
        "AF_INET6",
        "AF_NETLINK",
        "AF_UNIX",  # sd_notify
    }


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    here = tmp_path / UNIT.name
    text = UNIT.read_text()
    assert "\nExecStart=steering run\n" in text
    # It looks for the command, which need not be installed where this test runs.
    here.write_text(text.replace("ExecStart=steering run", f"ExecStart={sys.executable} run"))
    ran = subprocess.run(["systemd-analyze", "verify", str(here)], capture_output=True, text=True)
    about = [line for line in ran.stderr.splitlines() if UNIT.name in line]
    assert (about, ran.returncode) == ([], 0), ran.stderr


def test_the_speaker_s_user_is_the_one_that_is_configured_by_default(tmp_path: Path) -> None:
    if not shutil.which("systemd-sysusers") or os.geteuid() != 0:
        pytest.skip("needs systemd-sysusers, and root to make a user in another tree")
    from steering.config.bgp import Bgp

    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", str(ROOT / "systemd/steering-bgp.conf")]
    subprocess.run(command, check=True, capture_output=True)
    (line,) = (tmp_path / "etc/passwd").read_text().splitlines()
    name, _, number, _, _, _, shell = line.split(":")
    assert name == Bgp.model_fields["user"].default
    assert (int(number) != 0, shell) == (True, "/usr/sbin/nologin")


def test_everything_loads_where_no_memory_may_become_executable() -> None:
    """MemoryDenyWriteExecute=yes, as the kernel itself has it since 6.3."""
    libc = ctypes.CDLL(None, use_errno=True)

    def deny() -> None:
        if libc.prctl(_PR_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "no PR_SET_MDWE")

    program = """
import mmap, steering.agent, steering.act.guard, steering.cli
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    print("loaded, and denied")
"""
    try:
        ran = subprocess.run(
            [sys.executable, "-c", program], preexec_fn=deny, capture_output=True, text=True
        )
    except subprocess.SubprocessError as error:
        pytest.skip(f"needs Linux 6.3: {error}")
    assert ran.stdout == "loaded, and denied\n", ran.stderr


# --- the checkout ---------------------------------------------------------------------------


def test_make_lists_its_targets_and_each_sets_up_what_it_needs() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    targets = set(re.findall(r"(?m)^make (\w+)", listed))
    assert {"demo", "test", "lint", "bench", "clean", "help"} <= targets
    for target in targets - {"clean", "help"}:
        planned = subprocess.run(
            ["make", "--no-print-directory", "--dry-run", target],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert planned.startswith("scripts/setup "), target


def test_the_wheel_takes_one_python_and_the_quick_start_names_the_same() -> None:
    plan = ["make", "--no-print-directory", "--dry-run", "wheel"]
    for words, python in (([], "python3"), (["FOR=python3.12"], "python3.12")):
        planned = subprocess.run([*plan, *words], cwd=ROOT, check=True, capture_output=True)
        assert planned.stdout.decode() == f"scripts/setup wheel {python}\n"
    readme = (ROOT / "README.md").read_text()
    assert "$ make wheel\n$ sudo python3 -m venv /opt/steering\n" in readme
    ran = subprocess.run(
        [ROOT / "scripts/setup", "wheel", "/bin/false"], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("setup: /bin/false is no Python 3.11 or newer: ")


_BUILDS = """\
#!/bin/sh
case "$*" in
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    *" wheel "*)
        while [ "$1" != --wheel-dir ]; do shift; done
        [ -z "$FAILS" ] || exit 1
        mkdir -p "$2"; touch "$2/upstream_steering-0.1.0-$TAG.whl" ;;
esac
"""


def test_the_quick_start_s_dist_has_one_wheel_whatever_was_built_before(tmp_path: Path) -> None:
    """`pip install dist/upstream_steering-*.whl` would meet the others, and refuse them all."""
    (tmp_path / "scripts").mkdir()
    script = Path(shutil.copy(ROOT / "scripts/setup", tmp_path / "scripts/setup"))
    python = tmp_path / "python"
    python.write_text(_BUILDS)
    python.chmod(0o755)

    def build(tag: str, *, fails: str = "") -> int:
        environment = {**os.environ, "TAG": tag, "FAILS": fails}
        return subprocess.run(
            [script, "wheel", python], env=environment, capture_output=True
        ).returncode

    def there() -> list[str]:
        return sorted(file.name for file in (tmp_path / "dist").iterdir())

    assert build("cp311") == 0
    (tmp_path / "dist/other.txt").touch()
    assert build("cp312") == 0
    assert there() == ["other.txt", "upstream_steering-0.1.0-cp312.whl"]
    assert build("cp313", fails="yes") == 1
    assert there() == ["other.txt", "upstream_steering-0.1.0-cp312.whl"]


def scripts() -> Iterator[tuple[str, Path]]:
    yield "sh", ROOT / "scripts/setup"
    yield "bash", ROOT / ".ci/run"


@pytest.mark.parametrize(("shell", "script"), list(scripts()), ids=["scripts/setup", ".ci/run"])
def test_a_script_is_executable_and_parses(shell: str, script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run([shell, "-n", str(script)], check=True)


@pytest.mark.parametrize("words", [[], ["everything"]])
def test_the_set_up_says_how_it_is_called(words: list[str]) -> None:
    ran = subprocess.run([ROOT / "scripts/setup", *words], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (2, "usage: scripts/setup demo|test, or wheel PYTHON\n")
