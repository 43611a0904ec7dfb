"""The table of a run, and each difference with what it takes to see it again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from contract.heard import Heard
from contract.meant import meant
from contract.words import Sum, agree, sum_of


@dataclass
class Tally:
    """What came of all cases."""

    rows: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By kind of mutation."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Of the differences that are meant."""
    apart: list[Heard] = field(default_factory=list)
    """Those that are not."""
    lenient: Counter[str] = field(default_factory=Counter)
    """What Unbound refuses and accepts as it is shipped."""

    def add(self, heard: Heard) -> str:
        """Counts a case: "agree", "meant" or "differ"."""
        row = self.rows[heard.kind]
        reason = verdict_on(heard)
        how = "differ" if reason is None else "meant" if reason else "agree"
        if reason is None:
            self.apart.append(heard)
        elif reason:
            self.reasons[reason] += 1
        row["cases"] += 1
        row[sum_of(heard.words).value] += 1
        row[how] += 1
        for name, word in heard.lenient.items():
            if word.good and not heard.words["Unbound"].good:
                about = [
                    part for part in heard.label.split(" [")[0].split(" + ") if "dates:" in part
                ]
                self.lenient[f"{name}: {' + '.join(about) or heard.label}"] += 1
        return how

    @property
    def sums(self) -> Mapping[str, int]:
        """All rows together."""
        total: Counter[str] = Counter()
        for row in self.rows.values():
            total += row
        return total


def verdict_on(heard: Heard) -> str | None:
    """Why a difference is meant, "" where there is none; None: it is not meant."""
    if agree(heard.ours, heard.words):
        return ""
    known = meant(heard)
    return None if known is None else known.reason


COLUMNS = ("cases", *(one.value for one in Sum), "agree", "meant", "differ")


def table(tally: Tally) -> Iterator[str]:
    """By kind of mutation, and the sums."""
    yield f"{'mutation':24}" + "".join(f"{column:>10}" for column in COLUMNS)
    for kind, row in [*sorted(tally.rows.items()), ("all", tally.sums)]:
        yield f"{kind:24}" + "".join(f"{row[column]:10}" for column in COLUMNS)


def about(heard: Heard, seed: int) -> Iterator[str]:
    """One difference, with everything to see it again."""
    said = ", ".join(f"{name} {word.value}" for name, word in heard.words.items())
    yield f"{heard.number}: {heard.label}"
    yield f"  {heard.question}: {said}; here {heard.ours.value}: {heard.because}"
    yield f'  make contract CONTRACT="--seed {seed} --only {heard.number}"'


def failures(tally: Tally, seed: int) -> list[str]:
    """All that are not meant, in lines."""
    return [line for heard in tally.apart for line in about(heard, seed)]


def tell(tally: Tally, seed: int, versions: Sequence[str]) -> Iterable[str]:
    """Everything that is to be said of a run."""
    yield f"beside {', '.join(versions)}"
    yield ""
    yield from table(tally)
    yield ""
    for reason, count in tally.reasons.most_common():
        yield f"meant: {count:5}  {reason}"
    for what, count in sorted(tally.lenient.items()):
        yield f"accepted by {what} ({count})"
    if tally.apart:
        yield ""
        yield "differs:"
        yield from failures(tally, seed)


def plainly(heard: Heard) -> str:
    """A case in one line, for a log."""
    words = " ".join(f"{name}={word.value}" for name, word in heard.words.items())
    return f"{heard.number} {heard.label}: ours={heard.ours.value} ({heard.because}) {words}"
