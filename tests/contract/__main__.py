"""`python -m contract`: many odd answers, and whether we say of each what four validators say.

Exit status 1 where a difference is not a meant one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import dns.exception
import dns.message

from contract.case import MOST, kind_of
from contract.heard import Heard
from contract.lab import Lab, absent
from contract.report import Tally, plainly, tell
from contract.resolvers import LENIENT, VALIDATORS
from contract.run import run
from steering.lab.network.sandbox import missing


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="contract", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help=f"how many (2000), up to {MOST}")
    parser.add_argument("--seed", type=int, default=1, help="what they are drawn by (1)")
    parser.add_argument(
        "--only", type=int, metavar="CASE", help="one, with the answer and the logs"
    )
    parser.add_argument("--kind", help="those of one kind of mutation alone")
    parser.add_argument("--log", type=Path, help="a file for a line on each case")
    wanted = parser.parse_args(words)
    if max(wanted.cases, wanted.only or 0) > MOST:
        parser.error(f"there are {MOST} cases")
    if lacks := (*missing(), *absent(VALIDATORS)):
        print(f"not here: {'; '.join(lacks)}")
        return 2
    numbers = [n for n in range(wanted.cases) if wanted.kind in {None, kind_of(n)}]
    log = wanted.log.open("w") if wanted.log else None

    def progress(done: int, tally: Tally) -> None:
        print(f"{done} of {len(numbers)} cases, {len(tally.apart)} differ", flush=True)

    def each(heard: Heard, lab: Lab) -> None:
        if log:
            print(plainly(heard), file=log, flush=True)
        if wanted.only is not None:
            _show(heard, lab)

    if wanted.only is not None:
        numbers = [wanted.only]
    everyone = (*VALIDATORS, LENIENT)
    tally = run(numbers, wanted.seed, validators=everyone, progress=progress, each=each)
    versions = [f"{one.name} {one.says_version()}" for one in VALIDATORS]
    print("\n".join(tell(tally, wanted.seed, versions)))
    return 1 if tally.apart else 0


def _show(heard: Heard, lab: Lab) -> None:
    print(plainly(heard))
    print(f"the answer, without its id: {heard.wire.hex()}")
    try:
        print(dns.message.from_wire(heard.wire, ignore_trailing=True))
    except (dns.exception.DNSException, ValueError) as error:
        print(f"which dnspython does not read: {error}")
    for validator in VALIDATORS:
        lines = lab.log(validator.name).splitlines()
        for line in [one for one in lines if f"c{heard.number}." in one][-8:]:
            print(f"{validator.name}: {line}")


if __name__ == "__main__":
    sys.exit(main())
