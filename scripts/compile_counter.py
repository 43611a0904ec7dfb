"""Compiles the dnstap reader's hot path by mypyc: `python scripts/compile_counter.py`, in place.

The build hook of the wheel (`wheel.py`) calls it. The wheel gets the compiled module if mypyc, a C
compiler and Python's headers are installed, else plain Python: the same results, some fifteen
times slower. After a change of `counter.py` compile it again, or remove what was compiled in place.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MODULE = Path("steering/observe/dnstap/counter.py")
_ROOT = Path(__file__).resolve().parents[1]
_SUFFIXES = (".so", ".pyd")


class NoCompilerError(Exception):
    """Something that compiling needs is missing; the text is the last line of the output."""


def build(into: Path) -> tuple[Path, ...]:
    """Compile into a directory; returns the files made. Raises NoCompilerError."""
    with tempfile.TemporaryDirectory(prefix="steering-build-") as place:
        # In a copy: mypyc writes beside the source, and must not read the project's settings.
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
            output = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
            raise NoCompilerError(output[-1])
        into.mkdir(parents=True, exist_ok=True)
        return tuple(Path(shutil.copy2(path, into)) for path in made)


def remove(where: Path) -> None:
    """Remove the compiled module from a directory."""
    for path in where.glob(f"{MODULE.stem}*"):
        if path.suffix in _SUFFIXES:
            path.unlink()


def main() -> int:
    """Exit status 1 if nothing could be compiled; the message on stderr has the reason."""
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
