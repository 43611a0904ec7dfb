"""Real resolvers are given copies: they answer from whole and proven ones, and from no others."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.name
import dns.rdata
import dns.zone
import pytest
from publishing import PROGRAMS, SERIAL, Serving

from steering.observe.zone.facts import Digest, Question, ZoneFacts
from steering.rootzone import publish as publishing
from steering.rootzone.publish import Step

pytestmark = pytest.mark.lab

CUTS = 100
LAST = "tld00011."


@contextmanager
def resolver(kind: str, work: Path) -> Iterator[Serving]:
    """A resolver that answers from a first copy, which was published to it."""
    made = Serving(kind, work)
    copy = made.have(SERIAL)
    shutil.copy(made.kept.file, made.file)
    made.start()
    try:
        found = made.publish(copy)
        assert found.step is Step.DONE, f"{found}\n{made.log()}"
        yield made
    finally:
        made.stop()


def new_types(zone: dns.zone.Zone) -> None:
    """A type that nobody knows, and one that is younger than the resolvers."""
    for kind, text in (("TYPE65400", r"\# 3 010203"), ("RESINFO", '"qnamemin"')):
        owner = dns.name.from_text("new.")
        rdata = dns.rdata.from_text("IN", kind, text)
        zone.find_rdataset(owner, kind, create=True).add(rdata, 86400)


def whole(made: Serving) -> None:
    """The resolver answers from the whole of its first copy."""
    assert made.rcode(LAST, "DS") == "NOERROR"
    label = random.randrange(10**9)
    assert made.rcode(f"zzzz{label}.", "A") == "NXDOMAIN"
    assert made.rcode("tld00000.", "DS") == "NOERROR"


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_copy_with_new_types_is_loaded_and_answered_from(kind: str, tmp_path: Path) -> None:
    """October 2023: a loader of the presentation format that knows one type less."""
    with resolver(kind, tmp_path) as made:
        copy = made.have(SERIAL + 1, new_types)
        assert copy.facts.unknown_types == ("RESINFO", "TYPE65400")
        found = made.publish(copy)
        assert found.step is Step.DONE, f"{found}\n{made.log()}"
        assert made.rcode("new.", "RESINFO") == "NOERROR"
        made.start()  # and again from the disk
        whole(made)
        assert made.rcode("new.", "RESINFO") == "NOERROR"


def test_a_copy_that_was_cut_anywhere_is_not_published(tmp_path: Path) -> None:
    with resolver("unbound", tmp_path) as made:
        copy = made.have(SERIAL + 1)
        octets, before = made.kept.file.read_bytes(), made.file.read_bytes()
        head = octets.index(b"\n")
        rng = random.Random(2023)
        for at in rng.sample(range(head, len(octets) - 1), CUTS):
            made.kept.file.write_bytes(octets[:at])
            assert made.publish(copy).step is Step.SPOILED, at
        assert made.file.read_bytes() == before
        whole(made)
        made.start()
        whole(made)


def spoil(text: str, how: str) -> str:
    lines = text.splitlines()
    if how == "an unknown mnemonic":
        lines.insert(20, "tld00003.\t86400\tIN\tNEWTYPE\t1")
    else:
        at = next(n for n, line in enumerate(lines) if "\tIN\tZONEMD\t" in line)
        lines[at] = lines[at][:-1] + ("0" if lines[at][-1] != "0" else "1")
    return "\n".join((*lines, ""))


@pytest.mark.parametrize("how", ["an unknown mnemonic", "a wrong digest", "an expired signature"])
def test_a_spoiled_copy_is_not_published(how: str, tmp_path: Path) -> None:
    with resolver("unbound", tmp_path) as made:
        copy = made.have(SERIAL + 1)
        if how == "an expired signature":
            made.kept.file.write_text(_expired(made))
        else:
            made.kept.file.write_text(spoil(made.kept.file.read_text(), how))
        before = made.file.read_bytes()
        assert made.publish(copy).step is Step.SPOILED
        assert made.file.read_bytes() == before
        whole(made)
        made.start()
        whole(made)


def _expired(made: Serving) -> str:
    """The kept copy, with one signature that has ended and a digest that is right all the same."""

    def change(zone: dns.zone.Zone) -> None:
        made.made.resign(zone, LAST, "DS", made.made.now - 7200, 3600)

    head = made.kept.file.read_text().split("\n", 1)[0]
    zone = made.made.signed(SERIAL + 1, between=change)
    return f"{head}\n{zone.to_text(relativize=False)}"


def go_blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is verified, as if the verification had a fault: the later steps stand alone."""

    async def examine(*_: object, **__: object) -> ZoneFacts:
        return facts

    facts = ZoneFacts(
        zone=".",
        serial=SERIAL + 1,
        refresh=1800,
        retry=900,
        expire=604800,
        records=0,
        octets=0,
        expires=None,
        digest=Digest.VERIFIED,
        ends_with=tuple(
            Question(name=f"tld000{n:02}.", rdtype="DS") for n in (11, 10, 8, 7, 6, 5, 4)
        ),
    )
    monkeypatch.setattr(publishing, "examine", examine)


def test_a_half_zone_that_loads_is_taken_back_before_clients_fail_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut between two lines it parses, and Unbound answers from the half."""
    with resolver("unbound", tmp_path) as made:
        copy = made.have(SERIAL + 1)
        go_blind(monkeypatch)
        lines, before = made.kept.file.read_text().splitlines(), made.file.read_bytes()
        steps = set()
        for share in (0.3, 0.5, 0.7, 0.9):
            made.kept.file.write_text("\n".join((*lines[: int(len(lines) * share)], "")))
            found = made.publish(copy)
            steps.add(found.step)
            assert found.step in {Step.TAKEN_BACK, Step.REFUSED}, found
            assert made.file.read_bytes() == before
            whole(made)
            made.start()
            whole(made)
        assert Step.TAKEN_BACK in steps


def test_what_unbound_can_not_parse_is_refused_by_its_own_checker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with resolver("unbound", tmp_path) as made:
        copy = made.have(SERIAL + 1)
        go_blind(monkeypatch)
        text, before = made.kept.file.read_text(), made.file.read_bytes()
        made.kept.file.write_text(spoil(text, "an unknown mnemonic"))
        found = made.publish(copy)
        assert found.step is Step.REFUSED
        assert "checker" in found.because
        assert made.file.read_bytes() == before
        made.start()
        whole(made)


def test_a_resolver_restarted_while_a_copy_is_published_always_works(tmp_path: Path) -> None:
    """The process dies after the rename, before the reload: the file on the disk is good."""
    with resolver("unbound", tmp_path) as made:
        copy = made.have(SERIAL + 1)

        async def dies() -> None:
            raise KeyboardInterrupt

        target = made.target()
        object.__setattr__(target, "reload", dies)
        with pytest.raises(KeyboardInterrupt):
            made.publish(copy, target)
        made.start()
        whole(made)
        assert made.publish(copy).step is Step.DONE
