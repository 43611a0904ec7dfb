"""The hot path of dnstap compiled and in plain Python: the same results, and a notice without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import dnstap_oracle as oracle
import pytest

import steering

ROOT = Path(steering.__file__).parents[1]


@pytest.fixture(scope="module")
def compiled(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package out of the wheel: its hot path is compiled."""
    if not shutil.which("cc") or not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("there is no C compiler, or no headers of Python")
    place = tmp_path_factory.mktemp("compiled")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    yield place
    shutil.rmtree(place)


def run(place: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(place)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.mark.long
def test_compiled_and_interpreted_give_the_same_results(compiled: Path) -> None:
    which = "from steering.observe.dnstap import counter; print(counter.__file__)"
    assert run(compiled, "-c", which).strip().endswith(".so")
    digest = run(compiled, oracle.__file__, "digest", "2000", "11")
    fresh = compiled.parent / "plain"
    shutil.copytree(
        compiled / "steering",
        fresh / "steering",
        ignore=lambda _, names: [name for name in names if name.endswith(".so")],
    )
    assert run(fresh, "-c", which).strip().endswith("counter.py")
    assert run(fresh, oracle.__file__, "digest", "2000", "11") == digest
    run(compiled, oracle.__file__, "fuzz", "1500", "12")


@pytest.mark.long
def test_without_a_compiler_there_is_a_notice_and_plain_python(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/compile_counter.py", "--into", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"CC": "/bin/false"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "stays plain Python" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_compiled_in_place_is_not_older_than_its_source() -> None:
    source = ROOT / "steering/observe/dnstap/counter.py"
    for made in source.parent.glob("counter*.so"):
        assert made.stat().st_mtime >= source.stat().st_mtime, (
            "counter.py changed: python scripts/compile_counter.py, or with --remove"
        )
