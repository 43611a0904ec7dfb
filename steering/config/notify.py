"""Who is told of alarms, moves and ended incidents, and how."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from steering.config.base import DISTINCT, SOME, Section
from steering.config.problems import shown
from steering.config.types import FilePath, Kind, Name, Text, duration, text_schema


class About(enum.StrEnum):
    """What a notice is about."""

    ALARM = "alarm"
    MOVE = "move"  # addresses of one upstream are steered, or would be
    INCIDENT = "incident"  # one upstream's moves that have ended, as a whole


def _read_url(value: object) -> str:
    try:
        split = urlsplit(value) if isinstance(value, str) else None
        fits = split is not None and split.port != 0
    except ValueError:  # a port or an address that is none
        split, fits = None, False
    if (
        split is None
        or not fits
        or not isinstance(value, str)
        or not re.fullmatch(r"[!-~]+", value)
        or split.scheme not in {"http", "https"}
        or not split.hostname
        or "@" in split.netloc
        or split.fragment
    ):
        raise ValueError(
            f"is {shown(value)}, wanted http:// or https://, a host, perhaps a port and a path,"
            " and no user or password"
        )
    return value


Url = Annotated[str, Kind("URL", _read_url, text_schema("https?://[^ @#]+"))]


class _Receiver(Section):
    """What all receivers have."""

    on: Annotated[tuple[About, ...], SOME, DISTINCT] = Field(
        default=tuple(About),
        description="What to tell: each `alarm` (but those acknowledged or explained by another"
        " one), each upstream's `move` away from the local path, each `incident` that has ended.",
    )
    timeout: Annotated[
        float, duration("1s", "1m", why="shorter ones fail under load, longer ones hold up others")
    ] = Field(default=10.0, description="How long one attempt may take.")


class _Web(_Receiver):
    """What all receivers that are web servers have."""

    token_file: FilePath | None = Field(
        default=None,
        description="File whose content is sent as `Authorization: Bearer`, read anew each time.",
    )


class Webhook(_Web):
    """A web server that each notice is posted to, as JSON."""

    url: Url = Field(
        description="Where to post. The `text` of the JSON is a whole message, as chats want it."
    )


class Alertmanager(_Web):
    """One Alertmanager (Prometheus), or a cluster: it gets all that lasts every minute."""

    urls: Annotated[tuple[Url, ...], SOME, DISTINCT] = Field(
        description="The servers of the cluster; each gets all. `/api/v2/alerts` is added where"
        " there is no path."
    )
    labels: Mapping[Name, Text] = Field(default={}, description="Further labels of each alert.")


class Command(_Receiver):
    """A program that is run for each notice, which it reads as JSON from its standard input."""

    argv: Annotated[tuple[Text, ...], SOME] = Field(
        description="The program and its arguments; no shell reads them. It runs as the user of the"
        " agent."
    )


class Notify(Section):
    """Who is told, and how: receivers by name."""

    webhooks: Mapping[Name, Webhook] = Field(
        default={}, description="Web servers that each notice is posted to."
    )
    alertmanagers: Mapping[Name, Alertmanager] = Field(
        default={}, description="Alertmanagers of Prometheus."
    )
    commands: Mapping[Name, Command] = Field(
        default={}, description="Programs that are run for each notice."
    )

    @property
    def receivers(self) -> Mapping[str, Webhook | Alertmanager | Command]:
        """All of them, by name."""
        return {**self.webhooks, **self.alertmanagers, **self.commands}

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen = Counter([*self.webhooks, *self.alertmanagers, *self.commands])
        if twice := [name for name, number in seen.items() if number > 1]:
            raise ValueError(f"has {twice[0]} twice, wanted each name once")
        return self
