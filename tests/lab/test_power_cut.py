"""A power cut at any moment around `off` and `on`: what was said to be kept is found again.

STEERING_POWER_CUTS says at how many moments (default 24): 200 take some minutes.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernelhost import CLAIM, build_host
from powercut import Disk, disk

from steering.act.lease import Lease

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

_CUTS = int(os.environ.get("STEERING_POWER_CUTS", "24"))
_COMMIT = 5.0  # seconds: ext4 writes by itself what nobody synced (ext4(5), commit=)
_FEW_WRITES = 12  # more than a small file and its name take


def _command(config: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "steering", *words, "--config", str(config)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=0
    )


def _moments(disk: Disk, chance: random.Random) -> Iterator[Callable[[subprocess.Popen[str]], str]]:
    """For each trial what waits for its moment: a write, a time before the end or after it."""

    def after_writes(many: int) -> Callable[[subprocess.Popen[str]], str]:
        base = disk.writes()

        def wait(process: subprocess.Popen[str]) -> str:
            while disk.writes() < base + many and process.poll() is None:
                pass
            return f"at write {many}"

        return wait

    def after_start(seconds: float) -> Callable[[subprocess.Popen[str]], str]:
        def wait(process: subprocess.Popen[str]) -> str:
            until = time.monotonic() + seconds
            while time.monotonic() < until and process.poll() is None:
                time.sleep(0.001)
            return f"{seconds:.3f} s after the start"

        return wait

    def after_end(seconds: float) -> Callable[[subprocess.Popen[str]], str]:
        def wait(process: subprocess.Popen[str]) -> str:
            process.wait()
            time.sleep(seconds)  # the moment itself is what is tried
            return f"{seconds:.3f} s after the end"

        return wait

    usual = 0.5
    for number in itertools.count():
        match number % 3:
            case 0:
                yield after_writes(1 + chance.randrange(_FEW_WRITES))
            case 1:
                yield after_start(chance.uniform(0.0, usual))
            case _:
                yield after_end(min(chance.expovariate(4.0), _COMMIT) if number % 2 else 0.0)


@pytest.mark.usefixtures("namespace")
def test_the_switch_is_found_as_it_was_left_whenever_the_power_is_cut(tmp_path: Path) -> None:
    build_host()
    seed = random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    kept = early = 0
    with disk() as device:
        config, runtime = tmp_path / "steering.yaml", tmp_path / "run"
        runtime.mkdir()
        Lease(runtime).renew(CLAIM, 3600)
        config.write_text(f"state: {device.path}/a/state\nruntime: run\n")
        moments = _moments(device, chance)
        was: str | None = None  # the reason that is kept; None: it is on
        # Beside a load a cut comes later than its moment: then more are made, for some of each.
        for trial in range(3 * _CUTS):
            if trial >= _CUTS and min(kept, early) >= _CUTS // 6:
                break
            wanted = f"trial {trial} {'x' * chance.randrange(9000)}" if trial % 4 != 3 else None
            words = ("on",) if wanted is None else ("off", "--reason", wanted)
            wait = next(moments)
            process = _command(config, *words)
            ended = False

            def look(process: subprocess.Popen[str] = process) -> None:
                nonlocal ended
                ended = process.poll() is not None

            try:
                moment = wait(process)
                with device.cut(before=look) as found:
                    reason = _reason(found / "a" / "state" / "off")
                said, _ = process.communicate(timeout=60)
            finally:
                process.kill()
            story = f"seed {seed}, trial {trial}, {words[0]} cut {moment}: {said}"
            assert process.returncode == 0, story
            if ended:
                kept += 1
                assert reason == wanted, story
            else:
                early += 1
                assert reason in {was, wanted}, story
            was = wanted
    print(f"{kept + early} cuts, {kept} after exit 0 and {early} before it")
    assert min(kept, early) >= _CUTS // 6, f"seed {seed}: {kept} after the end, {early} before"


def _reason(switch: Path) -> str | None:
    """What is kept; a file that is there and not whole is neither what was nor what will be."""
    try:
        text = switch.read_text()
    except FileNotFoundError:
        return None
    return str(json.loads(text)["reason"])
