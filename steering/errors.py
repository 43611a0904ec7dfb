"""The error of a command: its reasons, and an exit code that says whose fault it is."""

from __future__ import annotations

FINE, FAILED, WRONG_INPUT, NOT_PERMITTED = 0, 1, 2, 3
"""Exit codes: fine, failed at run time, wrong input, not permitted."""


class CommandError(Exception):
    """An expected failure of a command, with its exit code and the reasons to print."""

    def __init__(self, code: int, *reasons: str) -> None:
        super().__init__("\n".join(reasons))
        self.code = code
        self.reasons = reasons

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines to print."""
        return tuple(f"steering: {reason}" for reason in self.reasons)


class CannotRunError(CommandError):
    """Why the agent does not start. Nothing has been installed."""
