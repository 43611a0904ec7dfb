"""What nameservers answer, by dates: the dnstap reader counts what the classifier reads.

The zones and questions are those of ``test_unmodified``. Each signature of each answer
is put out of its dates in turn, and all of them together.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Final

import dns.message
import pytest
from dnstap_alike import Word, counted, dated, read, signatures
from nameservers import SERVED, Server, ask, free_port, running

from steering.lab.network.sandbox import find
from steering.lab.servers.servers import Place
from steering.lab.servers.tangled import SIGNERS, TYPES, UNSIGNED, ZONES, fresh_keys, names, sign
from steering.observe.dnssec.signatures import RRSIG

pytestmark = pytest.mark.lab
DAY: Final = 86_400
MOST: Final = 120
"""Answers of each server and way of signing: signature by signature they are some hundreds."""


def wildcard(wire: bytes) -> bool:
    """Whether something in the answer section was made from a wildcard.

    What proves that it had to be is looked at by the reader, and by the classifier with keys.
    """
    return any(
        isinstance(rdata, RRSIG) and rdata.labels < len(held.name) - 1 - held.name.is_wild()
        for held in dns.message.from_wire(wire).answer
        for rdata in held
    )


@pytest.mark.parametrize("signer", SIGNERS)
@pytest.mark.parametrize(
    ("program", "serve"),
    [pytest.param(program, serve, id=name) for name, program, serve, _ in SERVED[:2]],
)
def test_reader_and_classifier_say_the_same_of_each_signature(
    program: str, serve: Server, signer: str, tmp_path: Path
) -> None:
    for needed in (program, "dnssec-signzone"):
        if not find(needed):
            pytest.skip(f"{needed} is not installed")
    sign(tmp_path, signer, fresh_keys())
    port = free_port()
    argv = serve(Place(folder=tmp_path, signer=signer, port=port))
    with running(argv, port, tmp_path / "log"):
        wires = {
            ask(port, name, rdtype).to_wire(max_size=65535)
            for name in names()
            for rdtype in (*TYPES, "NS", "SOA", "RRSIG")
        }
    now, seen, differ = int(time.time()), Counter[Word](), []
    secure = [zone for zone in ZONES if zone != UNSIGNED]
    for zones in (["example."], secure):
        for wire in sorted(wires)[:: max(1, len(wires) // MOST)]:
            changed = [(wire, now), (wire, now + 400 * DAY), (wire, now - 400 * DAY)]
            changed += [(dated(wire, at, now - DAY, now - 1), now) for at in signatures(wire)]
            for one, when in changed:
                word, _ = counted(one, zones, when)
                seen[word] += 1
                said = read(one, zones, when)
                if word is not said and not (said is Word.GOOD and wildcard(one)):
                    differ.append((word, said, dns.message.from_wire(one).to_text()))
    assert not differ, differ[0]
    assert min(seen[word] for word in (Word.GOOD, Word.EXPIRED, Word.EARLY)) > 60, seen
    assert not seen[Word.NO_MESSAGE]
