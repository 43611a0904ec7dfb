"""Why a command did not do what it was asked to, and whose fault that is: the exit code."""

from __future__ import annotations

FINE, FAILED, WRONG_INPUT, NOT_PERMITTED = 0, 1, 2, 3
"""Exit codes: fine, failed at run time, wrong input, not permitted."""


class CommandError(Exception):
    """An expected end of a command that did not do its work, and what to say of it."""

    def __init__(self, code: int, *reasons: str) -> None:
        super().__init__("\n".join(reasons))
        self.code = code
        self.reasons = reasons

    @property
    def lines(self) -> tuple[str, ...]:
        """What is printed."""
        return tuple(f"steering: {reason}" for reason in self.reasons)
