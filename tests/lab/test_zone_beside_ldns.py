"""Our verdicts on spoiled zones beside those of `ldns-verify-zone`, the independent witness."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from spoiledzone import spoiled
from wholezone import WholeZone

from steering.observe.zone.facts import EVERYWHERE
from steering.observe.zone.text import UnreadableZoneError, read_zone
from steering.observe.zone.verify import verify

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(
        shutil.which("ldns-verify-zone") is None, reason="ldns-verify-zone is not installed"
    ),
]

NUMBER, SEED = 200, 8976

MEANT: Mapping[str, str] = {
    "an NSEC with other types": "ldns follows the chain, and does not compare the types in it: a"
    " resolver would deny what there is",
    "a signature alone": "ldns looks for signatures of records, not for records of signatures; the"
    " list of types says DS, and there is none",
    "a second SOA": "ldns takes the first, other loaders the last: each has another serial then",
}
"""Kinds about which the two differ, and why: ours refuses more."""


def ours(file: Path, made: WholeZone) -> str:
    """Why the zone is refused; empty: it is good."""
    try:
        zone, octets = read_zone(file, ".", 1 << 20)
    except UnreadableZoneError as error:
        return str(error)
    facts = verify(
        zone,
        made.anchors["."],
        made.now,
        octets=octets,
        understood=EVERYWHERE,
        digest_required=True,
    )
    return "; ".join(facts.problems)


def test_verdicts_on_two_hundred_spoiled_zones_are_those_of_ldns(tmp_path: Path) -> None:
    made = WholeZone(now=time.time())
    anchor, file = tmp_path / "anchor", tmp_path / "root.zone"
    anchor.write_text(made.anchor)
    differ: dict[str, list[str]] = {}
    for case in spoiled(made, NUMBER, SEED):
        file.write_text(case.text)
        theirs = subprocess.run(
            ["ldns-verify-zone", "-ZZ", "-k", str(anchor), str(file)],
            capture_output=True,
            text=True,
            timeout=20,
        )
        why = ours(file, made)
        if case.kind not in MEANT:
            assert (not why) == case.good, f"{case.kind}: {why or 'good'}"
        if (not why) != (theirs.returncode == 0):
            said = (theirs.stdout + theirs.stderr).strip().replace("\n", " | ")
            differ.setdefault(case.kind, []).append(f"ours: {why or 'good'}; ldns: {said}")
    assert differ.keys() == MEANT.keys(), "\n".join(
        f"{kind}: {len(how)} times, {how[0]}" for kind, how in differ.items()
    )
