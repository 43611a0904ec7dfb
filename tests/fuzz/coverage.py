"""`python -m fuzz.coverage`: messages bred by the code that they reach (libFuzzer, by Atheris).

It begins with the generator's messages and knows its splinters. Each parser has a process of its
own, which goes on after a finding; what it learned is kept for the next time. Needs the extra
`fuzz`.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fuzz.campaign import Result, keep, take

_LONGEST: Final = 8_192
_SEEDS: Final = 400


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="fuzz.coverage", description=__doc__)
    parser.add_argument("--only", action="append", metavar="PARSER", help="may be repeated")
    parser.add_argument("--seconds", type=int, default=300, help="for each parser")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="findings, corpus")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args(words)
    if wanted.here:
        _breed(wanted.only[0], wanted.keep, wanted.seconds, wanted.seed)
        return 0
    from fuzz.parsers import PARSERS  # in the others they have to be loaded otherwise

    if unknown := set(wanted.only or ()) - PARSERS.keys():
        parser.error(f"no parser {', '.join(unknown)}; there are {', '.join(PARSERS)}")
    failed = 0
    for name in wanted.only or PARSERS:
        command = [sys.executable, "-m", "fuzz.coverage", "--here", "--only", name]
        command += ["--seconds", str(wanted.seconds), "--seed", str(wanted.seed)]
        done = subprocess.run(
            [*command, "--keep", str(wanted.keep)], capture_output=True, text=True, check=False
        )
        said = [line for line in done.stderr.splitlines() if "DONE" in line or "INITED" in line]
        print(f"{name}: {'; '.join(said) or done.stderr[-500:]}", flush=True)
        found = sorted((wanted.keep / "coverage").glob(f"{name}-*.txt"))
        for file in found:
            again = f"--only {name} --seed {wanted.seed} --file {file.with_suffix('')}"
            print(f'{file.read_text().splitlines()[0]}\n    make fuzz FUZZ="{again}"', flush=True)
        failed += bool(found) or done.returncode != 0
    return int(failed > 0)


def _breed(name: str, place: Path, seconds: int, seed: int) -> None:
    """In a process of its own; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["steering", "dns", "yaml"]):
        from fuzz.parsers import PARSERS
    driver = PARSERS[name][0](seed)
    corpus = place / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    seeds = list(driver.seeds())
    draw.shuffle(seeds)
    seeds = seeds[:_SEEDS] + [driver.message(draw) for _ in range(_SEEDS)]
    for number, message in enumerate(seeds):
        if len(message) <= _LONGEST:
            (corpus / f"seed-{number}").write_bytes(message)
    known = place / "corpus" / f"{name}.dict"
    pieces = [piece for piece in driver.splinters if 0 < len(piece) <= 64]
    words = ("".join(f"\\x{octet:02x}" for octet in piece) for piece in pieces)
    known.write_text("".join(f'"{word}"\n' for word in words))
    result = Result(parser=name)

    def one(message: bytes) -> None:
        kinds = len(result.findings)
        take(driver, message, result)
        if len(result.findings) > kinds:
            list(keep(result, place / "coverage"))

    options = [f"-max_total_time={seconds}", f"-dict={known}", f"-max_len={_LONGEST}"]
    options += [f"-seed={seed}", "-rss_limit_mb=4096", "-timeout=60"]
    options += [f"-artifact_prefix={place}{os.sep}", str(corpus)]
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
