"""Copies in the status, in its text, in `explain` and in the metrics: who is behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from simulation import Simulation, policy, setup

from steering.copies import Asked, FileShown, Look, Real, Shown, Way
from steering.decide.copy_course import Course, Phase, Remedy
from steering.judge.copies import Copy
from steering.model import Health, Outcome
from steering.report.copies import CopyStatus
from steering.report.copies_text import copy_text, named, zones_text
from steering.report.metrics import Meters
from steering.report.snapshot import Snapshot
from steering.report.status import status
from steering.report.status_text import status_text


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    sim = Simulation(setup(tmp_path, policy(letters=2)), lambda _ask: Outcome.SECURE).run(40)
    now, wall = sim.state.now, sim.state.wall
    shown = Shown(serial=5, expires=wall - 90.0, expire=604_800.0)
    copy = Copy(
        health=Health.FAILING,
        because="its first signature ended 90 s ago",
        proven=now - 700.0,
        behind=now - 650.0,
        expire=604_800.0,
        shown=shown,
        file=FileShown(shown=shown, refused="cut in line 7"),
        out="its first signature ended 90 s ago",
        left=-90.0,
    )
    asked = Asked(resolver="10.0.0.53", name="zw.", rdtype="DS", way=Way.SERVFAIL)
    one = CopyStatus(
        zone_copy="root",
        zone=".",
        resolver="cache-1",
        kind="unbound",
        copy=copy,
        course=Course(phase=Phase.STUCK, used=(Remedy.DRIVER,), trouble="driver: it hangs"),
        look=Look(asked=(asked,)),
        real=Real(serial=7, expires=wall + 900_000.0, answers=True),
        remedies=(Remedy.DRIVER, Remedy.COMMAND),
    )
    return Snapshot(
        mode="enforce",
        state=sim.state,
        installed={},
        alarms={},
        ready=True,
        turned_at=now,
        copies=(one,),
    )


def answer(snapshot: Snapshot) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(status(snapshot)))
    return made


def test_the_status_has_each_copy_beside_the_newest_of_its_zone(snapshot: Snapshot) -> None:
    shown = answer(snapshot)
    (copy,) = shown["copies"]
    assert (copy["health"], copy["phase"], copy["serial"]) == ("failing", "stuck", 5)
    assert (copy["proven_new_s"], copy["behind_s"]) == (700.0, 650.0)
    assert (copy["signature_remaining_s"], copy["servers"]["serial"]) == (-90.0, 7)
    assert copy["asked"] == [
        {"resolver": "10.0.0.53", "name": "zw.", "rdtype": "DS", "ended": "servfail"}
    ]
    beside = shown["zones"]["."]["copies"]["root/cache-1"]
    assert (beside["serial"], beside["behind"], beside["phase"]) == (5, True, "stuck")
    (zone,) = (zone for zone in shown["zones"] if zone != ".")
    assert set(shown["zones"][zone]["paths"]) <= set(snapshot.state.index.paths)


def test_a_site_without_copies_has_none_in_its_status(snapshot: Snapshot) -> None:
    shown = answer(replace(snapshot, copies=()))
    assert "copies" not in shown
    assert "copy" not in status_text(shown)


def test_zones_tell_who_is_behind(snapshot: Snapshot) -> None:
    text = zones_text(answer(snapshot), 100)
    (line,) = (line for line in text.splitlines() if "copy root/cache-1" in line)
    assert line.split()[0] == "."
    assert " 5 " in line
    assert "behind" in line
    paths = {
        "paths": {
            "local": {
                "serial": 9,
                "age_s": 10.0,
                "signature_remaining_s": 86_400.0,
                "behind": 3,
                "behind_addresses": ["192.5.6.30", "192.5.6.31"],
            }
        },
        "copies": {},
    }
    text = zones_text({"zones": {"com.": paths}})
    assert "com. over local: behind are 192.5.6.30, 192.5.6.31 and 1 more" in text
    assert zones_text({"zones": {}}) == "no zone has been seen yet"


def test_explain_tells_all_of_one_copy_by_either_name(snapshot: Snapshot) -> None:
    shown = answer(snapshot)
    assert named(shown, "root") == named(shown, "root/cache-1") == shown["copies"]
    assert named(shown, "cache-1") == []
    text = copy_text(shown["copies"][0], 100)
    for part in (
        "root/cache-1 (unbound), copy of .: failing, to be out, and what was tried did not help",
        "trouble: driver: it hangs",
        "last proven new 11 min 40 s ago",
        "the first of its signatures ends 1 min 30 s ago",
        "the zone's own servers answer: serial 7",
        "its file has serial 5: refused: cut in line 7",
        "remedies: driver, command; used: driver",
        "10.0.0.53 zw. DS: servfail",
    ):
        assert part in text, part


def test_the_summary_names_the_copies_that_are_not_well(snapshot: Snapshot) -> None:
    assert "copy root of .: cache-1 failing, stuck" in status_text(answer(snapshot))


def test_the_metrics_have_one_series_a_copy(snapshot: Snapshot) -> None:
    meters = Meters()
    meters.watch(lambda: snapshot)
    text = generate_latest(meters.registry).decode()
    found = {
        family.name: [(s.labels, s.value) for s in family.samples]
        for family in text_string_to_metric_families(text)
        if family.name.startswith("steering_copy_")
    }
    of = {"copy": "root", "zone": ".", "resolver": "cache-1"}
    assert found["steering_copy_health"] == [({**of, "state": "failing"}, 1.0)]
    assert found["steering_copy_out"] == [(of, 0.0)]
    assert found["steering_copy_serial"] == [(of, 5.0)]
    assert found["steering_copy_signature_remaining_seconds"] == [(of, -90.0)]
    assert found["steering_copy_proven_age_seconds"] == [(of, 700.0)]
