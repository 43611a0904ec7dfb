"""Where we differ from the validators on purpose: which cases, how, and why.

What is listed here stands in docs/verdicts.md too, and is defended there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from contract.heard import Heard
from contract.words import Word, letters


@dataclass(frozen=True)
class Meant:
    """A difference that is meant: patterns over what is known of a case, our word, the reason."""

    ours: Word
    reason: str
    label: str = ""
    said: str = ""
    """Over the letters of Unbound, BIND, PowerDNS and Knot (`words.letters`)."""
    because: str = ""
    """Over what ours rests on."""

    def fits(self, heard: Heard) -> bool:
        """Whether a difference is this one."""
        return heard.ours is self.ours and all(
            re.search(pattern, text) is not None
            for pattern, text in (
                (self.label, heard.label),
                (self.said, letters(heard.words)),
                (self.because, heard.because),
            )
        )


_BUT_BIND: Final = "^[Sa]x"
_INSECURE: Final = "^[ax]a[ax][ax]$"

MEANT: Final[tuple[Meant, ...]] = (
    # --- we accept, and BIND or all refuse ---
    Meant(
        Word.ACCEPTED,
        "options or records beside the answer that can't be read (RFC 6891 6.1.2, RFC 3597 2)",
        r"edns: |records: (an A of three|one of another class) .* (auth|addi)|without octets",
        _BUT_BIND,
    ),
    Meant(
        Word.ACCEPTED,
        "a record in the answer section of a denial that nobody asked for (RFC 2181 5.4.1)",
        "records: (an unrelated one|one of an unknown type) in the answer section",
        _BUT_BIND,
    ),
    Meant(
        Word.ACCEPTED,
        "a good signature beside bad ones is enough (RFC 6840 5.4); BIND gives up sooner",
        "(several|many) signatures: .*good one|the same tag",
        _BUT_BIND,
    ),
    Meant(
        Word.ACCEPTED,
        "signatures by other zones beside the zone's own say nothing (RFC 4035 5.3.1)",
        "beside the right one",
        "^[Sax]x",
    ),
    Meant(
        Word.ACCEPTED,
        "a digest of a wrong length is left out, and its RRset is signed as it stands (RFC 4509 3)",
        "digest: .*(octet|odd).* beside (a|the) good one",
        "^[Sax]x",
    ),
    Meant(
        Word.ACCEPTED,
        "NS of the zone below, unsigned, beside a denial of its DS (RFC 2181 5.4.1)",
        "ds: with NS of the child",
        _BUT_BIND,
    ),
    Meant(
        Word.ACCEPTED,
        "NXNAME in a bitmap says that a name does not exist (RFC 9824 3.1), which is newer",
        "nsec: black lie",
    ),
    Meant(
        Word.ACCEPTED,
        "a record of a proof with types or an owner that no signer makes, which BIND alone refuses",
        "bitmap: |nsec3: ((next|owner): hash of the name|owner that is no hash)",
        "^[Sax]x",
    ),
    Meant(
        Word.ACCEPTED,
        "a proof by NSEC3 is whole by itself, whatever NSEC stands beside it (RFC 5155 10.4)",
        "denial: NSEC beside NSEC3",
        _BUT_BIND,
    ),
    Meant(
        Word.ACCEPTED,
        "a denial needs no SOA (RFC 2308 2.2.1)",
        "denial: no SOA|records: one missing in the authority",
        "^[Sax]x",
    ),
    Meant(
        Word.ACCEPTED,
        "aliases in a circle, or very many: the zone says so itself, from whatever server",
        "alias: (to itself|round in a circle|a long chain)",
        "^xxxx$",
    ),
    Meant(
        Word.ACCEPTED,
        "YXDOMAIN beside a DNAME (RFC 6672 2.2), though the name is not too long",
        r"rcode: rcode 6 .*\[dname",
    ),
    # --- we refuse, and BIND or all accept ---
    Meant(
        Word.REFUSED,
        "the SOA of a denial is not rightly signed (RFC 4035 5.4); BIND alone does not mind",
        because=r" SOA: (no signature|the signature|signature|key)",
        said="^xa",
    ),
    Meant(
        Word.REFUSED,
        "the SOA of a denial is another zone's (RFC 2308 2.1)",
        "denial: SOA of ",
        because="^lame SOA of ",
    ),
    Meant(
        Word.REFUSED,
        "NSEC3 with unknown flags or another hash proves nothing (RFC 5155 8.1, 8.2)",
        "nsec3: (flags|hash) [0-9]",
        because="NSEC3: ",
    ),
    Meant(
        Word.REFUSED,
        "a CNAME that its DNAME does not make (RFC 6672 5.3.1)",
        "dname: with another CNAME( |$)",
        because="CNAME: no signature",
    ),
    Meant(
        Word.REFUSED,
        "signed by a zone above instead of the zone (RFC 4035 5.3.1)",
        r"signer: the (root|parent)( \[| \+|$)",
        because="no signature by the zone|no DS or proof of none|no NSEC",
    ),
    Meant(
        Word.REFUSED,
        "no AA: a cache answered in the server's place (RFC 1034 6.2.1)",
        "header: AA turned over",
        because="^lame not authoritative",
    ),
    Meant(
        Word.REFUSED,
        "more than 48 signatures in an answer: the work has a bound (CVE-2023-50387)",
        "many signatures: 60",
        because="too many signatures",
    ),
    Meant(
        Word.REFUSED,
        "no proof, of a name that another answer shows to be in an insecure zone (RFC 5155 6)",
        r"opt-out\]|iterations",
        _INSECURE,
    ),
    Meant(
        Word.REFUSED,
        "one record shows a wildcard, and another denies it (RFC 4035 5.4)",
        "nsec: owner: the wildcard",
        because="wildcard .* shown to exist",
    ),
    Meant(
        Word.REFUSED,
        "a signature over a wildcard's own name that counts the asterisk (RFC 4034 3.1.3)",
        r"wildcard: labels \+1 .*\[asterisk",
        because="does not verify",
    ),
    Meant(
        Word.REFUSED,
        "NXDOMAIN in a referral (RFC 1034 4.3.2)",
        "rcode: rcode 3",
        because="^lame not authoritative",
    ),
    Meant(
        Word.REFUSED,
        "YXDOMAIN without a DNAME (RFC 6672 2.2)",
        "rcode: rcode 6",
        because="YXDOMAIN",
    ),
)


def meant(heard: Heard) -> Meant | None:
    """The entry for a difference; None: it is not meant."""
    return next((one for one in MEANT if one.fits(heard)), None)
