"""Compiles the hot path by mypyc: `python -m steering.observe.dnstap.build` does it in place.

A wheel gets the compiled module where mypyc, a C compiler and Python's headers are at hand,
and plain Python where they are not: the same results, some fifteen times slower. After a
change of ``counter`` what was compiled in place has to be compiled again, or removed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MODULE = Path("steering/observe/dnstap/counter.py")
_ROOT = Path(__file__).resolve().parents[3]
_SUFFIXES = (".so", ".pyd")


class NoCompilerError(Exception):
    """Something that compiling needs is missing; the text is the end of what was said."""


def build(into: Path) -> tuple[Path, ...]:
    """Compile to a directory; the files made. Raises NoCompilerError."""
    with tempfile.TemporaryDirectory(prefix="steering-build-") as place:
        # In a copy: mypyc writes beside the source and needs no setting of the project's.
        unwanted = shutil.ignore_patterns("__pycache__", *(f"*{suffix}" for suffix in _SUFFIXES))
        shutil.copytree(_ROOT / MODULE.parts[0], Path(place) / MODULE.parts[0], ignore=unwanted)
        done = subprocess.run(
            [sys.executable, "-m", "mypyc", str(MODULE)],
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
        )
        made = [p for p in (Path(place) / MODULE.parent).iterdir() if p.suffix in _SUFFIXES]
        if done.returncode or not made:
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
            raise NoCompilerError(said[-1])
        into.mkdir(parents=True, exist_ok=True)
        return tuple(Path(shutil.copy2(path, into)) for path in made)


def remove(where: Path) -> None:
    """Remove what was compiled."""
    for path in where.glob(f"{MODULE.stem}*"):
        if path.suffix in _SUFFIXES:
            path.unlink()


def main() -> int:
    """Exit status 1 where nothing could be compiled: the notice says why."""
    parser = argparse.ArgumentParser(description="Compile the dnstap reader's hot path.")
    parser.add_argument("--into", type=Path, default=_ROOT / MODULE.parent)
    parser.add_argument("--remove", action="store_true", help="go back to plain Python")
    wanted = parser.parse_args()
    if wanted.remove:
        remove(wanted.into)
        return 0
    try:
        made = build(wanted.into)
    except NoCompilerError as error:
        print(f"the dnstap reader stays plain Python, which is slower: {error}", file=sys.stderr)
        return 1
    print("\n".join(map(str, made)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
