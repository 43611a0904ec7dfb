"""Where we differ from a peer on purpose: the file, the step, and why.

What is listed here stands in docs/verdicts.md too, and is defended there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_DNAME: Final = "a CNAME that its DNAME does not make: Knot makes its own, Unbound says bogus"

MEANT: Final[Mapping[tuple[str, int], str]] = {
    ("nsec_aggr_cache.rpl", 402): "made by the peer of NSEC records that it holds (RFC 8198)",
    ("nsec_aggr_cache.rpl", 505): "made by the peer of NSEC records that it holds (RFC 8198)",
    ("val_any_cap.rpl", 1): "more records of unknown types than are parsed here",
    ("val_cnametoinsecure.rpl", 20): "a denial without proof, which the peer has from elsewhere",
    ("val_cnametooptout.rpl", 1): "a referral from a zone to itself is no answer",
    ("val_dname_bogus.rpl", 221201): _DNAME,
    ("val_dname_bogus.rpl", 221213): _DNAME,
    ("val_dname_bogus.rpl", 900100): _DNAME,
    ("val_dname_bogus.rpl", 900301): _DNAME,
    ("val_minimal_baddsdigesttype.rpl", 1): "an anchor that can't be read: `check` refuses it",
    ("val_nodata_entnx.rpl", 1): "NXDOMAIN for an empty non-terminal that is shown to be there",
}
