"""The runner over peers' scenarios, on scenarios of our own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dns.flags
import dns.message
import dns.rdatatype
import pytest
from peers.__main__ import main
from peers.meant import MEANT
from peers.scenario import Unreadable, parse
from signedzone import DAY, NOW, SignedZone

ROOT = Path(__file__).parents[3]
ZONE = SignedZone("com.", nsec3=False)
LATE = SignedZone(
    "com.", nsec3=False, ksk=ZONE.ksk, zsk=ZONE.zsk, dates=lambda *_: (NOW - 2 * DAY, NOW - DAY)
)
DATE = datetime.fromtimestamp(NOW, UTC).strftime("%Y%m%d%H%M%S")


def entry(zone: SignedZone, name: str, rdtype: str) -> str:
    message = zone.ask(name, rdtype)
    sections = {"ANSWER": message.answer, "AUTHORITY": message.authority}
    records = [
        f"SECTION {section}\n" + "\n".join(rrset.to_text() for rrset in rrsets)
        for section, rrsets in sections.items()
        if rrsets
    ]
    rcode = "NXDOMAIN" if message.rcode() else "NOERROR"
    head = f"ENTRY_BEGIN\nMATCH opcode qname qtype\nREPLY QR AA {rcode}\nSECTION QUESTION\n"
    return "\n".join([f"{head}{name} IN {rdtype}", *records, "ENTRY_END"])


def scenario(zone: SignedZone, name: str, flags: str) -> str:
    keys = entry(ZONE, "com.", "DNSKEY")
    asked = f"SECTION QUESTION\n{name} IN A ; a comment\nENTRY_END\n"
    return f"""
server:
    trust-anchor: "{ZONE.anchor_text.strip()}" ; of com.
    val-override-date: "{DATE}"
CONFIG_END
SCENARIO_BEGIN one of ours
RANGE_BEGIN 0 100
ADDRESS 192.0.2.1
{keys}
{entry(zone, name, "A")}
RANGE_END
STEP 1 QUERY
ENTRY_BEGIN
REPLY RD DO
{asked}
STEP 10 CHECK_ANSWER
ENTRY_BEGIN
MATCH all
REPLY QR RD RA {flags}
{asked}
SCENARIO_END
"""


@pytest.mark.parametrize("name", ["www.com.", "gone.com."])
@pytest.mark.parametrize(
    ("zone", "flags", "status"),
    [
        (ZONE, "AD NOERROR", 0),
        (ZONE, "NOERROR", 0),
        (ZONE, "SERVFAIL", 1),
        (LATE, "SERVFAIL", 0),
        (LATE, "AD NOERROR", 1),
    ],
)
def test_a_client_s_answer_is_compared_with_the_verdict(
    tmp_path: Path, name: str, zone: SignedZone, flags: str, status: int
) -> None:
    (tmp_path / "one.rpl").write_text(scenario(zone, name, flags))
    assert main([str(tmp_path)]) == status


def test_what_is_left_out_is_said_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = scenario(ZONE, "www.com.", "AD NOERROR")
    (tmp_path / "none.rpl").write_text(text.replace("trust-anchor:", "trust:"))
    (tmp_path / "cd.rpl").write_text(text.replace("REPLY RD DO", "REPLY RD CD DO"))
    (tmp_path / "torn.rpl").write_text(text.replace("CONFIG_END", ""))
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    for reason in (
        "no trust anchor is stated",
        "asked with CD",
        "not read: torn.rpl",
        "2 pairs, 0",
    ):
        assert reason in said


def test_a_scenario_is_read_with_its_comments_and_broken_lines() -> None:
    text = scenario(ZONE, "www.com.", "AD NOERROR").replace(" IN A 192", " IN A ( ; there\n 192")
    text = text.replace("192.0.2.1\nwww", "192.0.2.1 )\nwww", 1)
    (pair,) = parse(text).pairs
    assert (pair.first, pair.last, pair.asked.do) == (1, 10, True)
    assert pair.wanted.flags & dns.flags.AD
    with pytest.raises(Unreadable):
        parse("STEP 1 QUERY")


def test_each_meant_difference_stands_in_the_docs() -> None:
    page = (ROOT / "docs/verdicts.md").read_text()
    for name, _ in MEANT:
        assert f"`{name.removesuffix('.rpl')}`" in page
