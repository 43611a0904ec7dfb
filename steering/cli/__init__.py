"""The command line. Exit codes: 0 fine, 1 failed at run time, 2 wrong input, 3 not permitted.

`parser` defines the commands and options; the other files carry them out, and `main` handles their
errors. Each command imports what it needs only when it runs: `steering off` must end within a
second.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from steering.cli import check, off, parser, query, rootzone, run
from steering.errors import FAILED, FINE, NOT_PERMITTED, WRONG_INPUT, CommandError

__all__ = ["FAILED", "FINE", "NOT_PERMITTED", "WRONG_INPUT", "main"]

_INTERRUPTED: Final = 130  # 128 and SIGINT, as shells have it

_COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "run": run.run,
    "check": check.check,
    "status": query.status,
    "explain": query.explain,
    "override": check.override,
    "reload": check.reload,
    "off": off.off,
    "on": off.on,
    "replay": query.replay,
    "rootzone": rootzone.rootzone,
    "demo": run.demo,
    "notify": query.notify,
    "help": lambda options: main([*options.of, "--help"]),
    "completion": check.completion,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = parser.parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except CommandError as excuse:
        print("\n".join(excuse.lines), file=sys.stderr)
        return excuse.code
    except PermissionError as error:
        print(f"steering: not permitted: {error}", file=sys.stderr)
        return NOT_PERMITTED
    except OSError as error:
        if options.command == "run":
            raise  # a bug of the agent: the traceback shows where
        print(f"steering: {error}", file=sys.stderr)
        return FAILED
