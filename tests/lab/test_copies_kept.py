"""The agent keeps a copy of the root, and gives it to the resolvers whose copies it watches."""

from __future__ import annotations

import pytest
from rootcopies import DISTRIBUTOR, root_copies, serial
from watchedcopies import watched

from steering.lab.servers.copies import Unbound
from steering.lab.waiting import until

pytestmark = pytest.mark.lab


def test_a_resolver_is_given_each_new_version_also_with_a_type_it_does_not_know() -> None:
    """October 2023, as it goes with a copy that somebody keeps."""
    with root_copies(expire=300, refresh=2, retry=2, ttl=2, count=60) as scene:
        file = scene.world.work / "copy.zone"
        file.write_text(scene.file.read_text())
        unbound = scene.resolver(Unbound, by_file=file)
        unbound.start()
        until(lambda: serial(unbound.ask(".", "SOA")) == scene.root.serial)
        first = scene.root.serial
        kept = (
            f"rootzone:\n  sources: [{DISTRIBUTOR}]\n  interval: 1s\n  publish:\n"
            f"    cache-1: {{{unbound.policy}, file: {file}, address: {unbound.address}}}\n"
        )
        entry = f"{unbound.policy}, file: {file}, clients: [{unbound.address}]"
        with watched(scene, {"cache-1": entry}, life=3600.0, more=kept) as story:

            def shown() -> int:
                return serial(unbound.ask(".", "SOA")) or 0

            story.until(lambda: shown() > first, 120.0)
            story.new_type = True
            story.publish()
            new = scene.root.serial
            story.until(lambda: shown() >= new, 120.0)
            answer = unbound.ask(".", "TYPE65280")
            assert answer is not None
            assert answer.answer
            assert "TYPE65280\t\\# " in file.read_text()
            assert "rootzone" not in story.alarms()
            assert not story.events("copy_taking_out")
            assert story.failures() == {}
            assert story.events("rootzone_renewed")
            assert story.events("rootzone_published")
            assert not story.events("rootzone_not_published")
            unbound.stop()
            unbound.start()  # from the disk
            assert shown() >= new
