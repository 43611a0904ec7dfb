"""The page on connecting a site, cut into the blocks that labs type.

A block stands between fences, and the comment before it says where and when it is typed::

    <!-- run: edge -->          before the agent is started
    <!-- run: edge, calm -->    while nothing is moved
    <!-- run: edge, steered -->  while the local path is bad
    <!-- run: edge, back -->    at the end

The fence's language says what becomes of it: ``sh`` and ``nft`` are typed there, ``yaml`` is
the agent's configuration, ``unbound`` the resolver's, ``bird`` the router's, and of ``console``
the commands are typed and print what stands below them. Only a ``text`` has no comment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "connecting-a-site.md"
MACHINES = ("edge", "router", "pao", "pod")
TIMES = ("before", "calm", "steered", "back")
LANGUAGES = ("sh", "nft", "yaml", "unbound", "bird", "console")

_FENCE = re.compile(
    r"^(?:<!-- run: (?P<machine>\w+)(?:, (?P<time>\w+))? -->\n)?"
    r"```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of the page, as it stands there."""

    example: int
    """The number of its section; 0 outside of the examples."""
    machine: str
    """Where it is typed; empty: nowhere."""
    time: str
    language: str
    text: str
    line: int
    """Where it stands in the page."""

    @property
    def steps(self) -> list[tuple[str, str]]:
        """The commands of a console, each with what it prints."""
        steps = [step.partition("\n") for step in re.split(r"(?m)^\$ ", self.text) if step]
        return [(command, printed) for command, _, printed in steps]


def blocks(page: str) -> tuple[Block, ...]:
    """All blocks of the page, in their order."""
    found: list[Block] = []
    for match in _FENCE.finditer(page):
        headings = re.findall(r"(?m)^## (?:(\d+)\. )?", page[: match.start()])
        found.append(
            Block(
                example=int((headings or [""])[-1] or 0),
                machine=match["machine"] or "",
                time=match["time"] or "before",
                language=match["language"],
                text=match["text"],
                line=page.count("\n", 0, match.start("text")),
            )
        )
    return tuple(found)


def example(number: int) -> tuple[Block, ...]:
    """What is typed of one example, in the page's order."""
    return tuple(b for b in blocks(PAGE.read_text()) if b.example == number and b.machine)


def examples() -> tuple[int, ...]:
    """The numbers of the examples, by their headings."""
    return tuple(map(int, re.findall(r"(?m)^## (\d+)\. ", PAGE.read_text())))


def says(said: str, wanted: str) -> bool:
    """Whether it is printed, in this order, however spaced, `...` being anything or nothing.

    Nothing but white space may stand before and between lines that do not say `...`.
    """
    words = [re.escape(" ".join(part.split())) for part in wanted.split("...")]
    pattern = r"\s?.*\s?".join(words)
    return re.fullmatch(pattern, " ".join(said.split()), re.DOTALL) is not None
