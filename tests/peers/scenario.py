"""Replay files of Unbound and Deckard, as far as they are needed to judge answers.

Their form is Unbound's (testcode/replay.h, testpkts.h there): a configuration, then answers
that an address gives in a range of steps, then steps, among them questions of a client and the
answers that it must get. What can't be read is kept as such, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import dns.exception
import dns.flags
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

SECTIONS: Final = ("ANSWER", "AUTHORITY", "ADDITIONAL")
_FLAGS: Final = {
    "QR": dns.flags.QR,
    "AA": dns.flags.AA,
    "TC": dns.flags.TC,
    "RD": dns.flags.RD,
    "RA": dns.flags.RA,
    "AD": dns.flags.AD,
    "CD": dns.flags.CD,
}


class Unreadable(Exception):  # noqa: N818 - it is the file that is
    """A part of a file that is not understood here."""


@dataclass(slots=True)
class Entry:
    """One message, of a server's or of a client's."""

    match: frozenset[str] = frozenset()
    adjust: frozenset[str] = frozenset()
    flags: int = 0
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    do: bool = False
    name: dns.name.Name = dns.name.root
    rdtype: dns.rdatatype.RdataType = dns.rdatatype.A
    sections: dict[str, list[dns.rrset.RRset]] = field(
        default_factory=lambda: {section: [] for section in SECTIONS}
    )
    trouble: str = ""
    """Why it can't be used, "" if it can."""

    def answers(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> bool:
        """Whether a server gives it to this question."""
        if "subdomain" in self.match:
            if not name.is_subdomain(self.name):
                return False
        elif self.match & {"qname", "question", "all"} and name != self.name:
            return False
        return not self.match & {"qtype", "question", "all"} or rdtype == self.rdtype

    @property
    def referral(self) -> bool:
        """Whether it leads to another server."""
        held = {rrset.rdtype for rrset in self.sections["AUTHORITY"]}
        return (
            not self.sections["ANSWER"]
            and dns.rdatatype.NS in held
            and dns.rdatatype.SOA not in held
        )


@dataclass(frozen=True, slots=True)
class Range:
    """What some addresses answer, from one step to another."""

    first: int
    last: int
    addresses: Sequence[str]
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Pair:
    """A client's question, and the answer that it must get."""

    first: int
    last: int
    """The steps of both: what servers say meanwhile can have been heard."""
    asked: Entry
    wanted: Entry


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file."""

    options: Sequence[tuple[str, str]]
    """The configuration, whatever part of it they stand in."""
    ranges: Sequence[Range]
    pairs: Sequence[Pair]

    def values(self, option: str) -> list[str]:
        """What an option was set to, each time."""
        return [value for name, value in self.options if name == option]

    @property
    def wall(self) -> float | None:
        """The date that it states, in UNIX seconds."""
        for text in self.values("val-override-timestamp"):
            return float(text)
        for text in self.values("val-override-date"):
            if len(text) == len("20070916134226"):
                return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
        return None


def parse(text: str) -> Scenario:
    """The scenario in a file. Raises Unreadable."""
    lines = iter(text.splitlines())
    options = list(_options(lines))
    ranges: list[Range] = []
    pairs: list[Pair] = []
    asked: list[tuple[int, Entry]] = []
    for line in lines:
        words = _words(line)
        match words:
            case ["RANGE_BEGIN", first, last, *_]:
                ranges.append(_range(int(first), int(last), lines))
            case ["STEP", number, "QUERY", *_]:
                asked.append((int(number), _entry(lines, begun=False)))
            case ["STEP", number, "CHECK_ANSWER", *_]:
                wanted = _entry(lines, begun=False)
                for begun, question in asked:
                    if (question.name, question.rdtype) == (wanted.name, wanted.rdtype):
                        pairs.append(Pair(begun, int(number), question, wanted))
                        asked.remove((begun, question))
                        break
            case ["STEP", _, "REPLY" | "CHECK_OUT_QUERY", *_]:
                _entry(lines, begun=False)
            case ["SCENARIO_END", *_]:
                break
    return Scenario(options, ranges, pairs)


def _options(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if line.startswith("CONFIG_END"):
            return
        name, colon, value = line.partition(":")
        name = name.strip()
        if colon and re.fullmatch(r"[a-z0-9-]+", name):
            quoted = re.match(r"""\s*(["'])(.*?)\1""", value)
            plain = re.split(r"\s[#;]", value)[0].strip()
            yield name, quoted.group(2) if quoted else plain
    raise Unreadable("no CONFIG_END")


def _words(line: str) -> list[str]:
    return line.split(";", maxsplit=1)[0].split()


def _range(first: int, last: int, lines: Iterator[str]) -> Range:
    addresses: list[str] = []
    entries: list[Entry] = []
    for line in lines:
        match _words(line):
            case ["ADDRESS", address, *_]:
                addresses.append(address)
            case ["ENTRY_BEGIN", *_]:
                entries.append(_entry(lines, begun=True))
            case ["RANGE_END", *_]:
                return Range(first, last, addresses, entries)
    raise Unreadable("a range without end")


def _entry(lines: Iterator[str], *, begun: bool) -> Entry:
    entry, section, held = Entry(), "", ""
    for line in lines:
        words = _words(line)
        if not begun:
            begun = words[:1] == ["ENTRY_BEGIN"]
            continue
        match words:
            case []:
                continue
            case ["ENTRY_END", *_]:
                return entry
            case ["MATCH", *what] if not section:
                entry.match |= frozenset(what)
            case ["ADJUST", *what] if not section:
                entry.adjust |= frozenset(what)
            case ["REPLY", *what] if not section:
                _reply(entry, what)
            case ["SECTION", name, *_]:
                section = name
            case [word, *_] if word.startswith(("HEX_", "RAW")):
                if word != "HEX_EDNSDATA_BEGIN":
                    entry.trouble = "a message in raw octets"
                if word.endswith("_BEGIN"):
                    for inner in lines:
                        if inner.strip().startswith(word.removesuffix("BEGIN") + "END"):
                            break
            case _ if section == "QUESTION":
                _question(entry, words)
            case _ if section:
                held = f"{held} {_bare(line)}".strip()
                if held.count("(") <= held.count(")"):
                    _record(entry, section, held)
                    held = ""
    raise Unreadable("an entry without end")


def _bare(line: str) -> str:
    """A record's text without its comment."""
    quoted = False
    for at, letter in enumerate(line):
        quoted ^= letter == '"'
        if letter == ";" and not quoted:
            return line[:at].strip()
    return line.strip()


def _reply(entry: Entry, words: Sequence[str]) -> None:
    for word in words:
        if word in _FLAGS:
            entry.flags |= _FLAGS[word]
        elif word == "DO":
            entry.do = True
        else:
            try:
                entry.rcode = dns.rcode.from_text(word.replace("NOTIMPL", "NOTIMP"))
            except dns.exception.DNSException:
                entry.trouble = f"REPLY {word}"


def _question(entry: Entry, words: Sequence[str]) -> None:
    try:
        entry.name = dns.name.from_text(words[0])
        entry.rdtype = dns.rdatatype.from_text(words[-1])
    except dns.exception.DNSException as error:
        entry.trouble = f"question: {error}"


def _record(entry: Entry, section: str, text: str) -> None:
    if section not in entry.sections:
        return
    try:
        owner, rest = text.split(maxsplit=1)
        while (word := rest.split(maxsplit=1))[0].isdigit() or word[0] in {"IN", "CH"}:
            rest = word[1]
        rdtype = dns.rdatatype.from_text(word[0])
        values = rest[len(word[0]) :]
        rdata = dns.rdata.from_text(
            dns.rdataclass.IN, rdtype, values, origin=dns.name.root, relativize=False
        )
    except (dns.exception.DNSException, ValueError, IndexError) as error:
        entry.trouble = f"{text[:60]}: {error}"
    else:
        entry.sections[section].append(dns.rrset.from_rdata(dns.name.from_text(owner), 3600, rdata))
