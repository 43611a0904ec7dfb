"""What is not as it should be in this host's kernel."""

from __future__ import annotations

from dataclasses import dataclass

from steering.model import Family


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelProblem:
    """One thing that is not as it should be, and why."""

    what: str
    because: str
    family: Family | None = None
    """Of the route or rule; None: it is about something else."""

    def __str__(self) -> str:
        return f"{self.what}: {self.because}"
