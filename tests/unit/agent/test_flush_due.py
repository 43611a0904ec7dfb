"""When the resolvers have something to forget: after moves that carry, and after the returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from faults import EXPIRED, FAULT, GOOD, STORIES, always, bad_here, site_fails
from simulation import Answer, Ask, Simulation, setup

from steering.act.resolvers.driver import Fault
from steering.agent.flush_due import TOGETHER, Due, FlushDue
from steering.model import Kind, Outcome, Round
from steering.override import Action, Match, Override


@dataclass
class Story(Simulation):
    """A story in which what is due is written down."""

    due: list[tuple[float, Due]] = field(default_factory=list)
    watch: FlushDue = field(default_factory=FlushDue)
    of_keys: bool = False
    """All questions are for DNSKEY."""

    def turn(self, rounds: Iterable[Round] = ()) -> None:
        items = list(rounds)
        super().turn(items)
        if self.of_keys:
            items = [replace(r, question=replace(r.question, kind=Kind.DNSKEY)) for r in items]
        for due in self.watch.see(self.state, items, self.installed):
            self.due.append((self.now, due))


def story(tmp_path: Path, answer: Answer, seconds: float, **more: bool) -> Story:
    made = Story(setup(tmp_path), answer)
    made.of_keys = more.get("of_keys", False)
    return made.run(seconds)


def test_a_move_and_a_return_are_followed_up_once_each(tmp_path: Path) -> None:
    told = story(tmp_path, bad_here(until=FAULT + 60), 200)
    (moved_at, moved), (back_at, back) = told.due
    last_route = max(at for at, step in told.steps if step.now)
    assert last_route < moved_at < last_route + 0.8
    assert moved.upstream == "gtld"
    assert moved.moved.zones == ("gtld.",)
    assert moved.moved.faults == {Fault.BOGUS}
    assert moved.moved.silent == ()
    assert moved.after == f"{len(told.addresses())} addresses went over fra"
    gone = max(at for at, step in told.steps if not step.now)
    assert gone <= back_at < gone + 5
    assert "returned to the local path" in back.after
    assert back.moved.faults == {Fault.BOGUS}


def test_bogus_keys_are_told_apart(tmp_path: Path) -> None:
    told = story(tmp_path, bad_here(until=FAULT + 60), 60, of_keys=True)
    assert told.due[0][1].moved.faults == {Fault.KEYS}


def test_after_silence_the_addresses_that_were_silent_are_named(tmp_path: Path) -> None:
    """Others of the upstream may have moved along; they are named neither then nor at the end."""

    def answer(ask: Ask) -> Outcome:
        dead = ask.address in {"192.5.0.30", "2001:db8:5::0:30"} and ask.local
        return Outcome.TIMEOUT if dead and FAULT <= ask.now < FAULT + 60 else GOOD

    told = story(tmp_path, answer, 400)
    (_, moved), *_, (_, back) = told.due
    for due in (moved, back):
        assert due.moved.faults == {Fault.SILENCE}
    assert moved.moved.silent
    named = {a for _, due in told.due for a in due.moved.silent}
    assert named <= {t.address for t in told.index.targets if t.nameserver.startswith("a.")}
    assert set(back.moved.silent) == named


def test_a_route_that_is_not_in_place_is_not_followed_up(tmp_path: Path) -> None:
    told = Story(setup(tmp_path), bad_here(), refuses=lambda _: True)
    told.run(120)
    assert told.moves()
    assert not told.due


def test_a_route_that_is_missing_is_waited_for_half_a_second(tmp_path: Path) -> None:
    missing = "192.5.0.30"
    told = Story(setup(tmp_path), bad_here(), refuses=lambda address: address == missing)
    told.run(60)
    (at, due), *more = told.due
    assert due.after.startswith("5 addresses")
    last_route = max(moved for moved, step in told.steps if step.now and step.address != missing)
    assert last_route + TOGETHER <= at < last_route + TOGETHER + 1.5
    assert not more
    told.refuses = lambda _: False
    told.run(20)
    assert told.due[-1][1].after.startswith("1 address "), "it is not forgotten"


def test_one_that_is_undone_is_followed_up_at_its_next_site(tmp_path: Path) -> None:
    """One good answer in a family stands for all whose routes came with it, bad ones left out."""
    lame = "192.5.0.30"

    def answer(ask: Ask) -> Outcome:
        if ask.live and ask.address == lame and ask.path == "fra":
            return EXPIRED
        return EXPIRED if ask.local and ask.now >= FAULT else GOOD

    told = story(tmp_path, answer, 90)
    assert any(event.address == lame for _, event in told.told("undone"))
    assert told.installed[lame] == "pao"
    assert told.due[-1][1].after.endswith("over pao")


@pytest.mark.parametrize("live", [EXPIRED, Outcome.TIMEOUT, Outcome.LOCAL_ERROR])
def test_a_detour_that_does_not_carry_is_not_followed_up(tmp_path: Path, live: Outcome) -> None:
    def answer(ask: Ask) -> Outcome:
        return live if ask.live else EXPIRED if ask.local and ask.now >= FAULT else GOOD

    told = story(tmp_path, answer, 120)
    assert told.moves()
    assert not told.due


def test_an_override_without_a_fault_leaves_nothing_to_forget(tmp_path: Path) -> None:
    order = Override(
        name="x",
        match=Match(upstream="gtld"),
        action=Action.STEER,
        to="pao",
        until=None,
        reason="4711",
        by="noc",
    )
    told = Story(setup(tmp_path), always(GOOD), overrides=(order,))
    told.run(120)
    assert told.installed
    assert not told.due


def test_another_site_is_another_move(tmp_path: Path) -> None:
    told = story(tmp_path, site_fails(FAULT + 40), 200)
    assert {step.now for _, step in told.moves()} == {"fra", "pao"}
    over = [due.after.rpartition(" ")[2] for _, due in told.due]
    assert over == sorted(over), "fra, then pao"
    assert set(over) == {"fra", "pao"}


def test_what_was_switched_off_while_it_is_bad_here_has_not_returned(tmp_path: Path) -> None:
    told = Story(setup(tmp_path), bad_here(until=FAULT + 120)).run(60)
    assert len(told.due) == 1
    told.off = True
    told.run(50)
    assert not told.installed
    assert len(told.due) == 1
    told.run(200)
    (_, back) = told.due[1]
    assert "returned" in back.after
    assert told.now > FAULT + 120 and len(told.due) == 2  # noqa: PT018


def test_an_agent_that_starts_beside_a_detour_follows_it_up_at_most_once(tmp_path: Path) -> None:
    told = Story(setup(tmp_path), bad_here(until=FAULT + 300)).run(60)
    told.restart()
    told.watch = FlushDue()
    told.run(100)
    assert len(told.due) == 2


@pytest.mark.parametrize("name", STORIES)
def test_whatever_happens_there_are_no_more_than_there_were_moves(
    tmp_path: Path, name: str
) -> None:
    answer, seconds = STORIES[name]
    told = story(tmp_path, answer, seconds)
    moments = {round(at, 1) for at, _ in told.steps}
    assert len(told.due) <= len(moments)
    if not told.moves():
        assert not told.due
    assert all(due.moved.faults for _, due in told.due)
