"""Records in another order or section, and octets behind the message."""

from __future__ import annotations

from contract.draft import SECTIONS
from contract.kinds import (
    ANSWERED,
    EVERY,
    PROBED,
    SINGLE,
    Making,
    Stage,
    variant,
)

WIRE, RECORDS = Stage.WIRE, Stage.RECORDS


@variant("order", "records shuffled", RECORDS, EVERY)
def _shuffled(m: Making) -> None:
    for section in SECTIONS:
        m.rng.shuffle(m.draft.records[section])


@variant("order", "signatures first", RECORDS, EVERY)
def _signatures_first(m: Making) -> None:
    for section in SECTIONS:
        m.draft.records[section].sort(key=lambda record: record.rdtype != 46)


@variant("order", "backwards", RECORDS, EVERY)
def _backwards(m: Making) -> None:
    for section in SECTIONS:
        m.draft.records[section].reverse()


@variant("order", "signatures in the additional section", RECORDS, ANSWERED)
def _elsewhere(m: Making) -> None:
    held = m.draft.records
    held["additional"] += [record for record in held["answer"] if record.rdtype == 46]
    held["answer"] = [record for record in held["answer"] if record.rdtype != 46]


@variant("order", "signatures of the answer in the authority section", RECORDS, ANSWERED)
def _beside(m: Making) -> None:
    held = m.draft.records
    held["authority"] += [record for record in held["answer"] if record.rdtype == 46]
    held["answer"] = [record for record in held["answer"] if record.rdtype != 46]


@variant("order", "proof in the answer section", RECORDS, ("nxdomain", "nodata"))
def _proof_in_answer(m: Making) -> None:
    held = m.draft.records
    held["answer"], held["authority"] = held["authority"], []


@variant("order", "answer in the authority section", RECORDS, SINGLE)
def _answer_in_authority(m: Making) -> None:
    held = m.draft.records
    held["answer"], held["authority"] = [], held["answer"]


for _count in (1, 2, 4, 11, 100, 2000):

    def _behind(m: Making, count: int = _count) -> None:
        m.draft.behind = bytes(m.rng.randrange(256) for _ in range(count))

    variant("octets behind", f"{_count} octets", WIRE, PROBED)(_behind)


@variant("octets behind", "zeros", WIRE, PROBED)
def _zeros(m: Making) -> None:
    m.draft.behind = bytes(12)
