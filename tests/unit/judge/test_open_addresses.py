"""Which addresses a turn looks at without news, and why each path has its health, in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulation import WALL, policy, setup

from steering.decide.state import State
from steering.index import Index
from steering.judge.known.ledger import (
    BAD,
    SILENCES,
    AddressRecord,
    Backoff,
    Control,
    GroupRecord,
    GroupTrial,
    Ledger,
    PathRecord,
)
from steering.judge.known.paired_test import Trial
from steering.judge.known.reason import reason
from steering.judge.known.recent import Recent
from steering.judge.known.recovery import Bucket, Hold
from steering.judge.known.stream import PathTraffic
from steering.judge.open_addresses import is_open, reopened
from steering.model import LOCAL, Evidence, Health

NOW = 5000.0
TRIAL = Trial(candidate="pao", since=NOW)
DATED = Recent(bad=9.0, all=9.0, dated=9.0, at=NOW)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index.of(setup(tmp_path, policy(letters=2)))


@pytest.fixture
def address(index: Index) -> str:
    return next(iter(index.settings))


@pytest.fixture
def blank(index: Index) -> Ledger:
    return State.blank(index, NOW, WALL).ledger


OPENS: list[dict[str, Any]] = [
    {"first_bad": NOW},
    {"curious_until": NOW + 1},
    {"shown_since": NOW},
    {"zone_since": NOW},
    {"quick": BAD},
    {"trial": TRIAL},
    {"control": Control(score=0, at=NOW, lost=False, live_lost=False)},
    {"backoff": Backoff(points=0, since=NOW, until=NOW)},
]


@pytest.mark.parametrize("more", OPENS, ids=lambda more: next(iter(more)))
def test_each_thing_that_may_change_by_itself_keeps_an_address_open(
    index: Index, address: str, blank: Ledger, more: dict[str, Any]
) -> None:
    ledger = replace(blank, addresses={address: AddressRecord(**more)})
    assert is_open(ledger, index, address, NOW)
    others = [other for other in index.settings if other != address]
    assert not any(is_open(ledger, index, other, NOW) for other in others)


def test_what_changes_only_by_news_opens_nothing(index: Index, address: str, blank: Ledger) -> None:
    calm = AddressRecord(
        curious_until=NOW, quick=BAD - 0.01, bad_at=NOW, hold=Hold(breaches=1), usual=0.1
    )
    local = PathRecord(health=Health.HEALTHY, streak=SILENCES - 1, stuck=SILENCES - 1)
    bad = PathRecord(health=Health.FAILING, streak=99, bucket=Bucket.start(9))
    paths = {(address, LOCAL): local, (address, "pao"): bad}
    ledger = replace(blank, addresses={address: calm}, paths=paths)
    assert not is_open(ledger, index, address, NOW)
    gone = replace(ledger, addresses={"192.0.2.1": AddressRecord(first_bad=NOW)})
    assert not is_open(gone, index, "192.0.2.1", NOW), "no policy names it"


@pytest.mark.parametrize(
    ("path", "record"),
    [
        (LOCAL, PathRecord(health=Health.SUSPECT)),
        (LOCAL, PathRecord(health=Health.FAILING)),
        (LOCAL, PathRecord(bucket=Bucket.start(9))),
        (LOCAL, PathRecord(streak=SILENCES)),
        (LOCAL, PathRecord(stuck=SILENCES)),
        (LOCAL, PathRecord(health=Health.HEALTHY, recent=DATED)),
        ("pao", PathRecord(losses=1)),
        ("fra", PathRecord(bucket=Bucket(clean=9, points=0))),
        ("fra", PathRecord(recent=DATED)),
    ],
)
def test_a_path_that_is_not_as_usual_keeps_its_address_open(
    index: Index, address: str, blank: Ledger, path: str, record: PathRecord
) -> None:
    assert is_open(replace(blank, paths={(address, path): record}), index, address, NOW)


def test_dates_over_a_site_matter_while_the_local_path_is_not_known(
    index: Index, address: str, blank: Ledger
) -> None:
    local = PathRecord(health=Health.HEALTHY)
    paths = {(address, "pao"): PathRecord(recent=DATED), (address, LOCAL): local}
    assert not is_open(replace(blank, paths=paths), index, address, NOW)


def test_a_trial_of_its_group_or_a_suspicion_by_traffic_keeps_it_open(
    index: Index, address: str, blank: Ledger
) -> None:
    group = index.settings[address].group
    on_trial = GroupRecord(trial=GroupTrial(trial=TRIAL, failed=frozenset()))
    assert is_open(replace(blank, groups={group: on_trial}), index, address, NOW)
    heard = replace(blank, addresses={address: AddressRecord(raised=True)})
    assert is_open(heard, index, address, NOW)


def test_what_is_healthy_or_suspect_is_due_when_its_answers_are_no_longer_fresh(
    index: Index, address: str, blank: Ledger
) -> None:
    records = {
        health: PathRecord(health=health, seen=NOW - 1 + number)
        for number, health in enumerate(Health)
    }
    for health, record in records.items():
        found = reopened(replace(blank, paths={(address, LOCAL): record}), index, NOW).due
        second = int(record.seen + index.fresh)
        due = {second: frozenset({(address, LOCAL)})}
        assert found == (due if health in {Health.HEALTHY, Health.SUSPECT} else {})
    old = PathRecord(health=Health.HEALTHY, seen=1.0)
    late = reopened(replace(blank, paths={(address, LOCAL): old}), index, NOW)
    assert list(late.due) == [int(NOW)]
    held = {address: AddressRecord(hold=Hold()), "x": AddressRecord()}
    assert reopened(replace(blank, addresses=held), index, NOW).held == {address}


EVIDENCE = Evidence(
    owner="a.gtld.", rdtype="A", detail="signature expired", key_tag=1, inception=1, expiration=2
)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (PathRecord(), "not measured yet"),
        (PathRecord(seen=NOW), "nothing answered lately"),
        (PathRecord(seen=NOW, streak=2), "2 probes unanswered (silence alone is no fault)"),
        (PathRecord(stuck=4), "4 probes in a row did not leave this host over this path"),
        (
            PathRecord(health=Health.HEALTHY, run=7, recent=Recent(bad=1.0, all=10.0, at=NOW)),
            "7 good answers in a row, 10.0% failing lately",
        ),
        (
            PathRecord(health=Health.STALE),
            "older copy than over other paths: serial lag unknown, nothing answered lately",
        ),
        (
            PathRecord(health=Health.FAILING, streak=SILENCES),
            "3 probes in a row unanswered while another path answers",
        ),
        (
            PathRecord(health=Health.FAILING, streak=SILENCES, evidence=EVIDENCE),
            f"3 probes in a row unanswered while another path answers; last: {EVIDENCE}",
        ),
        (PathRecord(health=Health.FAILING, streak=SILENCES - 1), "nothing answered lately"),
        (
            PathRecord(health=Health.FAILING, recent=Recent(bad=5.0, all=10.0, at=NOW)),
            "50.0% failing lately",
        ),
        (
            PathRecord(
                health=Health.FAILING,
                recent=Recent(bad=0.0, all=10.0, at=NOW),
                evidence=EVIDENCE,
            ),
            f"last: {EVIDENCE}",
        ),
    ],
)
def test_why_a_path_has_its_health(
    index: Index, address: str, blank: Ledger, record: PathRecord, text: str
) -> None:
    for path in (LOCAL, "pao"):
        ledger = replace(blank, paths={(address, path): record})
        assert reason(ledger, index, address, path, NOW) == text


def test_a_trial_and_the_resolvers_traffic_are_part_of_the_reason(
    index: Index, address: str, blank: Ledger
) -> None:
    def why(
        trial: Trial, share: float = 0.0, path: str = LOCAL, more: Evidence | None = None
    ) -> str:
        heard = PathTraffic(recent=Recent(bad=100 * share, all=100.0, at=NOW), evidence=more)
        ledger = replace(
            blank,
            paths={(address, path): PathRecord(health=Health.SUSPECT)},
            addresses={address: AddressRecord(trial=trial)},
            traffic={(address, path): heard},
        )
        return reason(ledger, index, address, path, NOW)

    assert why(TRIAL) == "trial against pao: not compared yet"
    pairs = replace(TRIAL, pairs=5, score=3)
    assert why(pairs) == "trial against pao: score +3 of +12 after 5 pairs"
    assert why(pairs, path="pao") == "nothing answered lately", "the trial is of the local path"
    assert why(pairs, 0.25).endswith("pairs; 25.0% of the answers to the resolvers failed")
    assert why(pairs, 0.25, more=EVIDENCE).endswith(f"failed; last: {EVIDENCE}")
    assert "resolvers" not in why(pairs, 0.0004)
