"""Prometheus Alertmanager, API v2: alerts that are sent again and again while they last.

An alert ends when `endsAt` has passed. Each one that lasts is sent every RESEND with an `endsAt`
some rounds ahead, so that the alerts of an agent that has died end by themselves
(github.com/prometheus/alertmanager, api/v2/openapi.yaml: postableAlert).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from steering.config.notify import About
from steering.format import timestamp
from steering.model import Seconds, WallTime
from steering.report.notifications.notice import NAMED, Notice, Sender, Stage
from steering.report.notifications.receiver import NotSentError
from steering.report.notifications.webhook import Server

RESEND: Final[Seconds] = 60.0
LASTS: Final[Seconds] = 4 * RESEND
"""Three rounds may be lost."""

_NAMES = {About.ALARM: "SteeringAlarm", About.MOVE: "SteeringMove"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alertmanager:
    """One or more servers of a cluster. Each gets all: they make one alert of equal ones."""

    servers: tuple[Server, ...]
    sender: Sender
    labels: Mapping[str, str]
    wall: Callable[[], WallTime]
    resend: Seconds | None = RESEND

    def send(self, notices: Sequence[Notice]) -> str:
        """Post all alerts to each server; which took none. Raises NotSentError where none did."""
        sent = alerts(notices, self.sender, self.labels, self.wall())
        failed: list[str] = []
        for server in self.servers if sent else ():
            try:
                server.post(sent)
            except NotSentError as error:
                failed.append(f"{server.place}: {error}")
        if len(failed) == len(self.servers):
            raise NotSentError("; ".join(failed))
        return "; ".join(failed)


def alerts(
    notices: Sequence[Notice], sender: Sender, labels: Mapping[str, str], wall: WallTime
) -> list[dict[str, object]]:
    """The alerts that these notices are. An incident that has ended is none."""
    made: list[dict[str, object]] = []
    for notice in notices:
        if notice.about not in _NAMES:
            continue
        what = "alarm" if notice.about is About.ALARM else "upstream"
        ends = wall if notice.stage is Stage.ENDED else wall + LASTS
        made.append(
            {
                "labels": {
                    **labels,
                    "alertname": _NAMES[notice.about],
                    "site": sender.site,
                    "instance": sender.host,
                    what: notice.name,
                },
                "annotations": {
                    "summary": f"[{sender.site}] {notice.title}",
                    "description": notice.text,
                    "addresses": ", ".join(notice.addresses[:NAMED]),
                },
                "startsAt": timestamp(notice.since),
                "endsAt": timestamp(ends),
            }
        )
    return made
