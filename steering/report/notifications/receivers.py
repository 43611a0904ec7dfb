"""The receivers of a configuration, built from it."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from steering import __version__
from steering.config import Config, notify
from steering.config.notify import About
from steering.report.notifications.alertmanager import Alertmanager
from steering.report.notifications.notice import Sender
from steering.report.notifications.program import Program
from steering.report.notifications.receiver import Means, Receiver
from steering.report.notifications.webhook import Server, Webhook

_ALERTS = "/api/v2/alerts"


Configured = notify.Webhook | notify.Alertmanager | notify.Command


def receivers(config: Config) -> dict[str, Receiver]:
    """A receiver for each of `notify`, by name. Nothing is sent until there is something."""
    return {
        name: Receiver(name, means(configured, config), about_of(configured), time.monotonic)
        for name, configured in config.notify.receivers.items()
    }


def about_of(configured: Configured) -> frozenset[About]:
    """What it is told: an Alertmanager has alerts that last, and an ended incident is none."""
    wanted = frozenset(configured.on)
    return wanted - {About.INCIDENT} if isinstance(configured, notify.Alertmanager) else wanted


def means(configured: Configured, config: Config) -> Means:
    """How a receiver is reached."""
    sender = Sender(
        site=config.site, host=socket.gethostname(), mode=str(config.mode), version=__version__
    )
    match configured:
        case notify.Command(argv=argv, timeout=timeout):
            return Program(argv=argv, timeout=timeout, sender=sender)
        case notify.Webhook(url=url):
            return Webhook(server=_server(url, configured), sender=sender)
        case notify.Alertmanager(urls=urls, labels=labels):
            servers = tuple(_server(_alerts(url), configured) for url in urls)
            return Alertmanager(servers=servers, sender=sender, labels=labels, wall=time.time)


def _server(url: str, configured: notify.Webhook | notify.Alertmanager) -> Server:
    return Server(url=url, timeout=configured.timeout, token_file=configured.token_file)


def _alerts(url: str) -> str:
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + _ALERTS
