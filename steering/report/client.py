"""Asks the running agent over HTTP, for `steering status` and `steering explain`."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from steering.config import Listen
from steering.excuse import FAILED, WRONG_INPUT, Excuse

_PATIENCE = 5.0  # seconds
_KINDS = ("application/json", "text/plain")  # of what the agent says


class Unreachable(Excuse):
    """The agent cannot be asked, and why."""

    def __init__(self, because: str) -> None:
        super().__init__(FAILED, because)


class Unknown(Excuse):
    """The agent answered that there is no such thing."""

    def __init__(self, because: str) -> None:
        super().__init__(WRONG_INPUT, because)


def fetch(listen: Listen, path: str) -> dict[str, object]:
    """One answer of the agent that listens there. Raises Unreachable or Unknown."""
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    url = f"http://{host}:{listen.port}{path}"
    another = Unreachable(f"what answers at {host}:{listen.port} is not the agent")
    # No proxy: the agent is on this host, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_PATIENCE) as answer:
            value = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode(errors="replace").strip()
        if error.headers.get_content_type() not in _KINDS:
            raise another from error
        if error.code in (400, 404):
            raise Unknown(_error_of(text)) from error
        raise Unreachable(f"the agent at {host}:{listen.port} says: {text}") from error
    except ValueError as error:
        raise another from error
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(
            f"no agent answers at {host}:{listen.port} ({reason}); is `steering run` running?"
        ) from error
    if not isinstance(value, dict):
        raise another
    return value


def _error_of(text: str) -> str:
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text
