"""October 2023 as it was, in two minutes: a new type that the site's distributor can't read.

It goes on serving what it had, with a good serial, and the resolvers that copy from it renew their
lease of an ever older zone. Its signatures end 80 s after they were made; SOA expire is 45 s. At
the root it is thirteen days, and seven.
"""

from __future__ import annotations

import time

import pytest
from rootcopies import RootCopies, root_copies
from stage import slack
from watchedcopies import Watched, entry, watched

from steering.lab.servers.copies import Bind, Copying, Forwarder, Knot, Recursor, Unbound
from steering.lab.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

EXPIRE, REFRESH, LIFE, TTL = 45, 8, 80.0, 10
TIMES = {
    "expire": EXPIRE,
    "refresh": REFRESH,
    "retry": REFRESH,
    "life": LIFE,
    "ttl": TTL,
    "count": 400,
}
LOOKS = 6.0
"""Seconds that the agent's looks, one a second, and their questions may add to a limit."""


def start(scene: RootCopies, *kinds: type[Copying]) -> None:
    """Resolvers with a copy each from the distributor."""
    for kind in kinds:
        resolver = scene.resolver(kind)
        if isinstance(resolver, Knot):
            resolver.give(scene.file)
        resolver.start()


def four(scene: RootCopies) -> dict[str, str]:
    """The four, Unbound also as shipped, without fallback; their entries in the policy."""
    start(scene, Unbound, Bind, Recursor, Knot)
    alone = scene.resolver(Unbound, fallback=False)
    alone.start()
    # It looks for a new copy once a minute at most, so its copy has to be out sooner.
    seldom = {"pdns-recursor": ", refresh: 16s"}
    made = {r.kind: entry(r, more=seldom.get(r.kind, "")) for r in scene.resolvers[:4]}
    return {**made, "alone": entry(alone)}


def the_new_type_comes(story: Watched) -> tuple[float, float]:
    """When the real servers have it, and when the signatures of what the distributor has end."""
    had = story.scene.distributor.serial()
    assert had is not None
    story.new_type, story.distributor_reads = True, False
    story.publish()
    until(lambda: story.scene.reals[0].serial() == story.scene.root.serial, every=0.05)
    since = time.time()
    return since, story.known.get(had, since) + LIFE


def unseen(story: Watched, questions: int = 100) -> None:
    """So many more questions of each client are answered, and none has failed so far."""
    asked = story.answered()
    story.until(lambda: story.answered() > asked + questions)
    assert not story.failures(), story.story()


def test_without_the_agent_clients_fail_when_the_signatures_end() -> None:
    """The fault is a real one: the agent of this run only observes, and says what it would do."""
    with root_copies(**TIMES) as scene:
        start(scene, Bind)
        alone = scene.resolver(Unbound, fallback=False)
        alone.start()
        bind = scene.resolvers[0]
        entries = {"bind": entry(bind), "alone": entry(alone)}
        with watched(scene, entries, life=LIFE, mode="observe") as story:
            _, ends = the_new_type_comes(story)
            story.until(lambda: time.time() > ends - 5.0, LIFE + 10.0)
            assert not story.failures(), "as long as its signatures are valid nobody sees it"
            story.until(lambda: len(story.failures()) == 2)
            assert "SERVFAIL" in str(story.failures()[alone.address])
            assert "expired signature" in str(story.failures()[bind.address])
            assert set(story.phases().values()) == {"in"}
            assert story.events("would_take_copy_out")


def test_october_2023_no_client_of_any_resolver_sees_it() -> None:
    with root_copies(**TIMES) as scene:
        entries = four(scene)
        alone = scene.resolvers[-1].address
        with watched(scene, entries, life=LIFE) as story:
            since, ends = the_new_type_comes(story)
            story.until(lambda: story.events("alarm_raised", now="copy_stale"))
            assert story.first("alarm_raised", now="copy_stale") < since + REFRESH + LOOKS + slack()
            stale = {"unbound", "bind", "pdns-recursor", "alone"}

            def phase(wanted: str) -> set[str]:
                return {name for name, phase in story.phases().items() if phase == wanted}

            story.until(lambda: phase("out"), EXPIRE + 30.0, wanted=stale)
            print(f"alarm {story.first('alarm_raised', now='copy_stale') - since:.1f} s")
            for name in stale:
                print(f"{name} out {story.first('copy_out', resolver=name) - since:.1f} s")
                assert story.first("copy_out", resolver=name) < since + EXPIRE + slack(), (
                    story.story()
                )
            story.until(lambda: time.time() > ends + 10.0, LIFE + 10.0)
            unseen(story)
            assert phase("in") == {"knot-resolver"}, "what it was filled with ended by its TTLs"
            story.distributor_reads = True
            story.until(lambda: phase("in"), wanted=set(entries))
            asked = story.answered()
            story.until(lambda: story.answered() > asked + 50)
            assert story.failures().keys() <= {alone}, "without fallback until it is transferred"
            print(story.story())


def test_a_cache_that_was_filled_with_an_old_copy_is_cleared() -> None:
    """Knot Resolver, where TTLs are longer than SOA expire. Nothing renews its file."""
    with root_copies(**{**TIMES, "ttl": 86_400}) as scene:
        start(scene, Knot)
        (knot,) = scene.resolvers
        with watched(scene, {"knot": entry(knot)}, life=LIFE) as story:
            since, _ = the_new_type_comes(story)
            story.until(lambda: story.phases()["knot"], EXPIRE + 30.0, wanted="out")
            assert story.first("copy_out") < since + EXPIRE + slack(), story.story()
            assert story.copies()["knot"]["used"] == ["driver"]
            unseen(story, 50)


def test_october_2023_through_a_forwarder_between_nodes() -> None:
    """The node that clients ask has no copy, and is no part of what takes it out."""
    with root_copies(**TIMES) as scene:
        start(scene, Bind)
        (bind,) = scene.resolvers
        forwarder = scene.resolver(Forwarder, source=bind.address)
        forwarder.start()
        entries = {"bind": entry(bind, through=[forwarder.address])}
        with watched(scene, entries, life=LIFE) as story:
            since, ends = the_new_type_comes(story)
            story.until(lambda: story.phases()["bind"], EXPIRE + 30.0, wanted="out")
            assert story.first("copy_out") < since + EXPIRE + slack()
            asked = {one["resolver"] for one in story.copies()["bind"]["asked"]}
            assert asked == {bind.address, forwarder.address}
            story.until(lambda: time.time() > ends + 10.0, LIFE + 10.0)
            unseen(story)


def test_october_2023_with_the_control_channel_hung() -> None:
    """The alarm says so, and the operator's command, the next remedy, works."""
    with root_copies(**TIMES) as scene:
        start(scene, Bind)
        (bind,) = scene.resolvers
        hangs = bind.work / "hangs"
        hangs.write_text("#!/bin/sh\nexec sleep 600\n")
        hangs.chmod(0o755)
        away, back = bind.work / "away", bind.work / "back"
        reload = f"kill -HUP $(cat {bind.work}/pid)"
        away.write_text(
            f"#!/bin/sh\nset -e\ncp {bind.include} {bind.include}.mine\n"
            f"echo '// by hand' >{bind.include}\n{reload}\n"
        )
        back.write_text(f"#!/bin/sh\nset -e\ncp {bind.include}.mine {bind.include}\n{reload}\n")
        for script in (away, back):
            script.chmod(0o755)
        mine = entry(bind, more=f", command: [{away}], restore: [{back}]")
        mine = mine.replace('["rndc"', f'["{hangs}"').replace(
            "include:", "time_limit: 1s, include:"
        )
        with watched(scene, {"bind": mine}, life=LIFE) as story:
            since, ends = the_new_type_comes(story)
            story.until(lambda: story.phases()["bind"], EXPIRE + 40.0, wanted="out")
            assert story.first("copy_out") < since + EXPIRE + LOOKS + slack()
            (hung, *_) = story.events("copy_remains")
            assert "driver" in hung["because"], hung
            assert "1 s" in hung["because"], hung
            assert "driver" in story.alarms()["copy_stuck"]
            assert story.copies()["bind"]["used"] == ["driver", "command"]
            story.until(lambda: time.time() > ends + 10.0, LIFE + 10.0)
            unseen(story)


def test_a_copy_whose_source_is_gone_is_out_before_the_resolver_drops_it() -> None:
    """Unbound without fallback fails its clients when its own lease ends, which began before ours:
    with its last look at the source.
    """
    with root_copies(**TIMES) as scene:
        alone = scene.resolver(Unbound, fallback=False)
        alone.start()
        with watched(scene, {"alone": entry(alone)}, life=3600.0) as story:
            story.distributor_reads = False
            scene.distributor.silence()
            story.publish()
            story.until(lambda: story.phases()["alone"], EXPIRE + 20.0, wanted="out")
            unseen(story, 200)
