"""From tallies to facts: whose answer it was, and what was never answered."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulation import policy, setup

from steering.agent.dnstap_source import DnstapSource
from steering.index import Index
from steering.model import LOCAL, Evidence, Failure, Heard, Outcome
from steering.observe.dnssec.trust import Trust
from steering.observe.dnstap.listeners import Place
from steering.observe.dnstap.tally import (
    Frames,
    Notice,
    Reason,
    Sample,
    Signed,
    Tally,
    Traffic,
)
from steering.observe.traffic.attribution import GRACE, LATELY, Attribution
from steering.observe.traffic.losses import HALF, PATIENCE, SOON, Losses
from steering.observe.traffic.verify import SampleVerifier

ADDRESS = "192.5.0.30"


class Keyless:
    trust = Trust()

    def trust_for(self, _zones: object, _server: object) -> Trust:
        return self.trust

    def miss(self, zone: str, _server: object) -> None:
        raise AssertionError(zone)


@pytest.fixture
def dnstap(tmp_path: Path) -> Iterator[DnstapSource]:
    index = Index.of(setup(tmp_path, policy(letters=2)))
    with tempfile.TemporaryDirectory() as short:
        place = Place(at=f"{short}/tap")
        made = DnstapSource(index, [place], SampleVerifier(Keyless(), rng=random.Random(1)))
        yield made
        made.close()


def told(
    dnstap: DnstapSource, tally: Tally, installed: dict[str, str] | None = None
) -> list[Heard]:
    dnstap._tallies.append(tally)
    dnstap._count_frames(tally, tally.ended)
    return list(dnstap.evidence(installed or {}, tally.ended))


def tally(began: float, *traffic: Traffic, **more: object) -> Tally:
    return Tally(began=began, ended=began + 0.2, traffic=traffic, **more)  # type: ignore[arg-type]


def test_an_address_is_local_until_the_kernel_says_otherwise() -> None:
    where = Attribution()
    where.note_installed({}, 100.0)
    assert where.path(ADDRESS, 100.0 + GRACE) == LOCAL


def test_nothing_is_known_of_before_the_first_look() -> None:
    where = Attribution()
    assert where.path(ADDRESS, 100.0) is None
    where.note_installed({}, 100.0)
    assert where.path(ADDRESS, 100.0 + GRACE - 0.1) is None


def test_answers_under_way_at_a_move_are_nobodys() -> None:
    where = Attribution()
    where.note_installed({}, 0.0)
    where.note_installed({ADDRESS: "pao"}, 100.0)
    assert where.path(ADDRESS, 99.9) is None, "seen partly after the move"
    assert where.path(ADDRESS, 100.0 + GRACE - 0.1) is None
    assert where.path(ADDRESS, 100.0 + GRACE) == "pao"
    where.note_installed({}, 200.0)
    assert where.path(ADDRESS, 200.0) is None
    where.note_installed({}, 200.0 + 3 * GRACE)
    assert where.path(ADDRESS, 200.0 + 3 * GRACE) == LOCAL
    assert not where._path_since, "nothing is kept of what is over"


def test_a_move_to_another_site_counts_anew() -> None:
    where = Attribution()
    where.note_installed({}, 0.0)
    where.note_installed({ADDRESS: "pao"}, 100.0)
    where.note_installed({ADDRESS: "fra"}, 110.0)
    assert where.path(ADDRESS, 111.0) is None
    assert where.path(ADDRESS, 120.0) == "fra"


def test_what_was_asked_and_answered_is_no_loss() -> None:
    losses = Losses()
    for second in range(100):
        now = float(second)
        assert losses.count("a", asked=10, answered=8 if second == 0 else 10, now=now) == 0


def test_what_was_never_answered_is_lost_after_a_while() -> None:
    losses = Losses()
    assert losses.count("a", asked=10, answered=7, now=0.0) == 0
    assert losses.count("a", asked=0, answered=0, now=PATIENCE) == 0
    assert losses.count("a", asked=0, answered=0, now=PATIENCE + 0.1) == 3
    assert losses.count("a", asked=0, answered=0, now=PATIENCE + 1) == 0
    assert losses.addresses == ()


def test_answers_to_nothing_that_was_seen_are_no_credit() -> None:
    losses = Losses()
    losses.count("a", asked=0, answered=50, now=0.0)
    losses.count("a", asked=10, answered=0, now=1.0)
    assert losses.count("a", asked=0, answered=0, now=2.0 + PATIENCE) == 10


def test_a_dead_address_loses_everything_while_others_answer() -> None:
    losses = Losses()
    lost = 0
    for tick in range(100):
        losses.count("alive", asked=5, answered=5, now=tick * 0.2)
        lost += losses.count("dead", asked=5, answered=0, now=tick * 0.2)
    assert lost > 300


def test_a_resolver_that_tells_of_queries_alone_has_no_losses() -> None:
    losses = Losses()
    for second in range(1000):
        assert losses.count("a", asked=10, answered=0, now=float(second)) == 0


def test_silence_of_all_is_believed_for_a_minute() -> None:
    losses = Losses()
    losses.count("a", asked=1, answered=1, now=0.0)
    losses.count("a", asked=4, answered=0, now=1.0)
    assert losses.count("a", asked=0, answered=0, now=7.0) == 4
    losses.count("a", asked=4, answered=0, now=HALF)
    assert losses.count("a", asked=0, answered=0, now=HALF + 7) == 0


def test_counts_become_outcomes(dnstap: DnstapSource) -> None:
    told(dnstap, tally(0.0))
    evidence = Evidence(owner="d1.gtld.", rdtype="DS", detail="signature expired")
    failing = Failure(name="d1.gtld.", outcome=Outcome.EXPIRED, evidence=evidence)
    (heard,) = told(
        dnstap,
        tally(
            10.0,
            Traffic(
                address=ADDRESS,
                queries=20,
                responses=20,
                malformed=1,
                rcodes={0: 10, 3: 4, 2: 2, 5: 1, 9: 1, 4: 1},
            ),
            signed=(
                Signed(
                    address=ADDRESS,
                    zone="gtld.",
                    good=9,
                    expired=3,
                    not_yet_valid=1,
                    expires=99.0,
                    failing=(failing,),
                ),
            ),
        ),
    )
    assert heard.path == LOCAL
    assert heard.counts == {
        Outcome.SECURE: 9,
        Outcome.EXPIRED: 3,
        Outcome.NOT_YET_VALID: 1,
        Outcome.SERVFAIL: 3,
        Outcome.REFUSED: 1,
        Outcome.LAME: 1,
        Outcome.MALFORMED: 1,
    }
    assert heard.answers == 20
    assert heard.failures == (failing,)


def test_traffic_around_a_move_is_dropped_with_its_messages(dnstap: DnstapSource) -> None:
    traffic = Traffic(address=ADDRESS, queries=5, responses=5)
    sample = Sample(address=ADDRESS, reason=Reason.RANDOM, message=b"x" * 40)
    told(dnstap, tally(0.0))
    assert told(dnstap, tally(10.0, traffic, samples=(sample,)))
    assert len(dnstap.verifier._drawn) == 1
    assert not told(dnstap, tally(20.0, traffic, samples=(sample,)), {ADDRESS: "pao"})
    assert len(dnstap.verifier._drawn) == 1
    (heard,) = told(dnstap, tally(30.0, traffic), {ADDRESS: "pao"})
    assert heard.path == "pao"


def test_what_was_asked_since_a_move_is_of_the_new_path_at_once(dnstap: DnstapSource) -> None:
    told(dnstap, tally(0.0))
    asked = Traffic(address=ADDRESS, queries=5, responses=5)
    told(dnstap, tally(10.0, asked))
    dnstap._wall = lambda: 1234.5
    assert not told(dnstap, tally(20.0, asked), {ADDRESS: "pao"}), "asked before and after"
    assert dnstap.reader._interest[ADDRESS].since == 1_234_500_000
    others = [a for a in dnstap.interest if a != ADDRESS]
    assert not any(dnstap.reader._interest[a].since for a in others)
    before = Traffic(address=ADDRESS, since=1_000_000_000, queries=5, responses=5)
    assert not told(dnstap, tally(20.2, before), {ADDRESS: "pao"}), "of another move"
    (since,) = (dnstap.reader._interest[ADDRESS].since,)
    after = Traffic(address=ADDRESS, since=since, queries=50, responses=10)
    (heard,) = told(dnstap, tally(20.4, after), {ADDRESS: "pao"})
    assert (heard.path, heard.answers, heard.overdue) == ("pao", 10, 0)
    (heard,) = told(dnstap, tally(20.6 + SOON), {ADDRESS: "pao"})
    assert (heard.path, heard.overdue) == ("pao", 40)
    assert Outcome.TIMEOUT not in heard.counts
    (heard,) = told(dnstap, tally(20.6 + PATIENCE), {ADDRESS: "pao"})
    assert (heard.counts, heard.overdue) == ({Outcome.TIMEOUT: 40}, 0)
    told(dnstap, tally(21.0 + LATELY), {ADDRESS: "pao"})
    assert not dnstap.reader._interest[ADDRESS].since, "a minute later all that comes is of it"


def test_only_over_a_detour_is_anything_overdue(dnstap: DnstapSource) -> None:
    told(dnstap, tally(0.0))
    told(dnstap, tally(10.0, Traffic(address=ADDRESS, queries=50, responses=10)))
    assert not told(dnstap, tally(11.0 + SOON))


def test_frames_that_were_dropped_are_no_losses_of_the_upstream(dnstap: DnstapSource) -> None:
    told(dnstap, tally(0.0))
    asked = Traffic(address=ADDRESS, queries=50, responses=10)
    told(dnstap, tally(10.0, asked))
    told(dnstap, tally(10.2, lost=40))
    more = Traffic(address=ADDRESS, queries=1, responses=1)
    (heard,) = told(dnstap, tally(20.0, more))
    assert Outcome.TIMEOUT not in heard.counts


def test_losses_are_told_though_nothing_came(dnstap: DnstapSource) -> None:
    told(dnstap, tally(0.0))
    told(dnstap, tally(10.0, Traffic(address=ADDRESS, queries=50, responses=10)))
    (heard,) = told(dnstap, tally(11.0 + PATIENCE))
    assert heard.counts == {Outcome.TIMEOUT: 40}


def test_frames_that_the_reader_drops_are_an_alarm_for_a_while(dnstap: DnstapSource) -> None:
    assert not dnstap.problem(0.0)
    told(dnstap, tally(10.0, lost=3, frames={Frames.OK: 7}))
    assert "is too slow" in dnstap.problem(10.3)
    assert not dnstap.problem(100.0)
    assert dnstap.status().lost == 3
    assert dnstap.status().frames == {"ok": 7}
    told(dnstap, tally(100.0, longest_gap=0.35))
    assert "0.35 s" in dnstap.problem(100.3)
    assert not dnstap.problem(200.0)


def test_a_complaint_about_a_writer_is_one_event(
    dnstap: DnstapSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = Notice(listener="/run/tap", because="no Frame Streams")
    monkeypatch.setattr(dnstap.reader, "take", lambda _now: (tally(0.0, notices=(notice,)),))
    (event,) = dnstap.read(0.2)
    assert (event.event, event.because) == ("dnstap", "/run/tap: no Frame Streams")
    assert not dnstap.has_news, "nobody needs a turn for it"


def test_what_the_reader_has_counted_is_news_until_a_turn_has_seen_it(
    dnstap: DnstapSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [tally(100.0), tally(100.2, Traffic(address=ADDRESS, responses=3), unnoticed=2)]
    repaired: list[float] = []
    monkeypatch.setattr(dnstap.reader, "repair_sockets", repaired.append)
    monkeypatch.setattr(dnstap.reader, "take", lambda _now: [waiting.pop(0)] if waiting else [])
    dnstap.evidence({}, 90.0)
    assert not dnstap.read(100.0)
    assert not dnstap.has_news, "nothing was asked"
    (event,) = dnstap.read(100.4)
    assert (event.event, event.because) == ("dnstap", "2 more problems of writers")
    assert dnstap.has_news
    assert repaired == [100.0, 100.4]
    (heard,) = dnstap.evidence({}, 100.4)
    assert (heard.address, heard.answers) == (ADDRESS, 3)
    assert not dnstap.has_news
    assert not dnstap.evidence({}, 100.4)


def test_the_rate_is_of_the_time_since_the_tally_before(dnstap: DnstapSource) -> None:
    def rate(began: float, ended: float, frames: int) -> float:
        made = Tally(began=began, ended=ended, traffic=(), frames={Frames.OK: frames})
        dnstap._count_frames(made, ended)
        return dnstap.status().rate

    assert rate(100.0, 100.2, 50) == pytest.approx(250.0)
    assert rate(100.2, 101.2, 50) == pytest.approx(50.0)
    assert rate(100.7, 101.7, 50) == pytest.approx(100.0), "half of it was told before"
    assert rate(101.7, 101.7, 1) == pytest.approx(1000.0)
    assert dnstap.status().frames == {str(Frames.OK): 151}
