"""`steering notify`: what each receiver would be told, and a test of whether it can be reached."""

from __future__ import annotations

import argparse
import json
import shlex
import time
from typing import Final

from steering.config import Config, load
from steering.config.notify import About, Alertmanager, Command, Webhook
from steering.errors import FAILED, FINE, WRONG_INPUT, CommandError
from steering.format import duration
from steering.report.notifications import alertmanager
from steering.report.notifications.notice import Notice, Stage, body
from steering.report.notifications.receiver import NotSentError
from steering.report.notifications.receivers import Configured, about_of, means

_NOBODY: Final = "no receiver is configured: `notify` in {}"


def run(options: argparse.Namespace) -> int:
    """Print what the receivers would get; with `--send` send it. FAILED where one took nothing."""
    config = load(options.config).config
    if not (known := config.notify.receivers):
        raise CommandError(WRONG_INPUT, _NOBODY.format(options.config))
    wanted = options.receivers or list(known)
    if unknown := [name for name in wanted if name not in known]:
        raise CommandError(
            WRONG_INPUT, f"no receiver {unknown[0]!r}, wanted one of: {', '.join(known)}"
        )
    results = [_one(name, known[name], config, send=options.send) for name in wanted]
    return FINE if all(results) else FAILED


def _one(name: str, notified: Configured, config: Config, *, send: bool) -> bool:
    notices = [notice for notice in _samples(config) if notice.about in about_of(notified)]
    way = means(notified, config)
    if not send:
        data = (
            [alertmanager.alerts(notices, way.sender, way.labels, time.time())]
            if isinstance(way, alertmanager.Alertmanager)
            else [body(notice, way.sender) for notice in notices]
        )
        print(f"{name}: {_words(notified)}")
        for one in data:
            print(json.dumps(one, indent=2, ensure_ascii=False))
        return True
    began = time.monotonic()
    try:
        way.send(notices[:1])
    except NotSentError as error:
        print(f"{name}: {error}")
        return False
    print(f"{name}: sent in {duration(time.monotonic() - began)}")
    return True


def _words(configured: Configured) -> str:
    told = ", ".join(sorted(about_of(configured)))
    match configured:
        case Webhook(url=url):
            to = url
        case Alertmanager(urls=urls):
            to = ", ".join(urls)
        case Command(argv=argv):
            to = shlex.join(argv)
    return f"{told}, to {to}"


def _samples(config: Config) -> tuple[Notice, ...]:
    """A test of each kind. They have ended, so that no Alertmanager calls anybody for long."""
    now = time.time()
    site = next(iter(config.sites), "elsewhere")
    text = "sent by `steering notify`: nothing has happened"
    addresses = ("192.0.2.1",)
    return tuple(
        Notice(
            about=about,
            name="test",
            stage=Stage.ENDED,
            since=now - 60,
            ended=now,
            title=title,
            text=text,
            addresses=addresses,
            sites=() if about is About.ALARM else (site,),
        )
        for about, title in (
            (About.ALARM, "test of an alarm"),
            (About.MOVE, f"test of a move through {site}"),
            (About.INCIDENT, "test of an incident that has ended"),
        )
    )
