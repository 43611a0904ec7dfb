"""An agent watches a real resolver's copy by its file, over restarts of both."""

from __future__ import annotations

import pytest
from rootcopies import root_copies, serial
from watchedcopies import watched

from steering.lab.servers.copies import Unbound
from steering.lab.waiting import until

pytestmark = pytest.mark.lab


def test_a_copy_that_is_out_stays_out_over_restarts_and_returns_with_a_new_file() -> None:
    with root_copies(expire=20, refresh=3, retry=2, ttl=2) as scene:
        file = scene.world.work / "copy.zone"
        file.write_text(scene.file.read_text())
        unbound = scene.resolver(Unbound, by_file=file)
        unbound.start()
        until(lambda: serial(unbound.ask(".", "SOA")) == scene.root.serial)
        entry = f"{unbound.policy}, file: {file}, clients: [{unbound.address}]"
        with watched(scene, {"cache-1": entry}, life=3600.0) as story:
            story.until(lambda: "copy_stale" in story.alarms())
            story.until(lambda: story.phases()["cache-1"], wanted="out")
            assert "copy_out" in story.alarms()
            assert unbound.run(*unbound.control, "list_auth_zones") == ""
            story.agent.stop()
            left = unbound.include.read_text()
            unbound.stop()
            unbound.start(copy=False)
            unbound.include.write_text(left)  # as the agent left it
            path = scene.world.work / "etc/steering.yaml"
            story.agent = story.host.start(path, log=scene.world.work / "agent.log")
            story.host.await_ready(story.agent)
            story.until(lambda: story.phases().get("cache-1"), wanted="out")
            assert len(story.events("copy_out")) == 1
            draft = file.with_suffix(".draft")
            draft.write_text(scene.file.read_text())
            draft.replace(file)
            story.until(lambda: story.phases()["cache-1"], wanted="in")
            assert ".\t" in unbound.run(*unbound.control, "list_auth_zones")
            assert "SERVFAIL" not in str(story.failures())  # only silence, while it restarted
            told = [event["event"] for event in story.events() if event["event"][:5] == "copy_"]
            assert [name for name in told if name != "copy_health"] == [
                *("copy_taking_out", "copy_out", "copy_returning", "copy_back"),
            ]
