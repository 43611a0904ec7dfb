"""Word to people: a real Alertmanager, a web server that hangs at first, and a program."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stage import EXPIRED, QUICK, Stage, on_stage

from steering.lab.network.sandbox import PYTHON, Program, find
from steering.lab.network.topology import EDGE
from steering.model import LOCAL

pytestmark = pytest.mark.lab

_HOOK = """
import http.server, json, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(sys.argv[1], "ab") as file:
            file.write(body + b"\\n")
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""
"""Writes what it gets, line by line."""

_PAGE = """
import sys
from dataclasses import replace
with open(sys.argv[1], "a") as file:
    file.write(sys.stdin.read())
"""


def config(work: Path) -> str:
    page = work / "page.py"
    page.write_text(_PAGE)
    return f"""
notify:
  alertmanagers: {{am: {{urls: ["http://127.0.0.1:9093"], labels: {{team: dns}}}}}}
  webhooks: {{chat: {{url: "http://127.0.0.1:8080/hook", timeout: 2s}}}}
  commands: {{page: {{argv: [{PYTHON}, {page}, {work / "page"}], on: [move, incident]}}}}
"""


def alerts(stage: Stage) -> dict[str, Any]:
    """The active alerts of the Alertmanager, by name."""
    ask = (
        "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"
    )
    url = "http://127.0.0.1:9093/api/v2/alerts?active=true"
    said = stage.scene.world.run(EDGE, [sys.executable, "-c", ask, url], check=False).stdout
    found = json.loads(said) if said.strip() else []
    return {alert["labels"]["alertname"]: alert for alert in found}


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def told(file: Path) -> list[tuple[str, str]]:
    return [(line["about"], line["stage"]) for line in lines(file)]


def test_people_hear_of_a_move_and_of_its_end_though_one_of_them_hangs() -> None:
    if find("prometheus-alertmanager") is None:
        pytest.skip("no prometheus-alertmanager here")
    with on_stage(agent=False) as stage:
        scene = stage.scene
        work = scene.world.work
        hook, page, heard = work / "hook.py", work / "page", work / "heard"
        hook.write_text(_HOOK)
        (work / "am.yaml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
        scene.world.start(
            EDGE,
            [
                "prometheus-alertmanager",
                f"--config.file={work / 'am.yaml'}",
                f"--storage.path={work / 'am'}",
                "--web.listen-address=127.0.0.1:9093",
                "--cluster.listen-address=",
            ],
            log="alertmanager",
        )
        web: Program = scene.world.start(EDGE, [PYTHON, str(hook), str(heard)], log="hook")
        web.freeze()  # it accepts, and says nothing
        scene.configure(replace(QUICK, more=config(work)))
        scene.start_agent()
        stage.await_health("healthy")

        scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.until(lambda: "SteeringMove" in alerts(stage), every=0.5)
        alert = alerts(stage)["SteeringMove"]
        assert alert["labels"]["upstream"] == "gtld-servers"
        assert alert["labels"]["team"] == "dns"
        assert "4 addresses go through pao" in alert["annotations"]["summary"]
        stage.until(lambda: told(page) == [("move", "began")], every=0.1)
        assert not told(heard)
        stage.await_alarm("notify", within=180)
        web.thaw()
        stage.until(lambda: ("move", "began") in told(heard), within=180, every=0.1)
        stage.await_alarm("notify", there=False)

        scene.serve()
        stage.await_routes({})
        over = [("move", "began"), ("move", "ended"), ("incident", "ended")]
        stage.until(lambda: told(page) == over, within=120, every=0.1)
        stage.until(lambda: ("incident", "ended") in told(heard), every=0.1)
        incident = lines(page)[-1]
        assert incident["number"] == 4
        assert incident["sites"] == ["pao"]
        stage.until(lambda: "SteeringMove" not in alerts(stage), within=120, every=0.5)
        assert scene.stop_agent(signal.SIGTERM) == 0
