"""The guard's watch over a lease that goes wrong in ways that need no kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import pytest
from test_act_diff import CLAIM

from steering.act import guard as guarding
from steering.act.guard import Watch
from steering.act.lease import Lease, boot_time


class Kernel:
    """Counts how often everything was taken back."""

    def __init__(self) -> None:
        self.withdrawn = 0

    def __call__(self, _claim: object) -> Kernel:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def remains(self) -> bool:
        return True

    def withdraw(self) -> tuple[()]:
        self.withdrawn += 1
        return ()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(guarding, "KernelActuator", made)
    return made


def test_a_lease_that_can_no_longer_be_read_runs_on_to_its_end(
    tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(tmp_path)
    lease.renew(CLAIM, 60)
    watch = Watch(runtime=tmp_path)
    assert watch.look() == 0.5
    lease.path.unlink()
    lease.path.mkdir()  # EISDIR, for root too
    assert watch.look() == 0.5
    assert kernel.withdrawn == 0
    now = boot_time()
    monkeypatch.setattr(guarding, "boot_time", lambda: now + 61)
    watch.look()
    assert kernel.withdrawn > 0
