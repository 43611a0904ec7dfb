"""What the resolvers' pages in the docs tell to type for a copy is what `steering check` wants."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from steering.config.resolvers import (
    BindControl,
    Control,
    KnotControl,
    PowerDnsControl,
    UnboundControl,
)
from steering.resolver_settings import dangers

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs/resolvers"
MAIN: dict[str, tuple[type[Control], str]] = {
    "unbound": (UnboundControl, 'include: "copy"\n'),
    "bind9": (BindControl, 'include "copy";\n'),
    "pdns-recursor": (PowerDnsControl, "lua-config-file=copy\n"),
    "knot-resolver": (KnotControl, "dofile('copy')\n"),
}


@pytest.mark.parametrize("page", MAIN)
def test_a_copy_set_up_by_its_page_is_no_danger(page: str, tmp_path: Path) -> None:
    section = (PAGES / f"{page}.md").read_text().partition("## A copy of the root")[2]
    block = re.search(r"```\w+\n(.*?)```", section, re.DOTALL)
    assert block is not None
    kind, main = MAIN[page]
    (tmp_path / "copy").write_text(block[1])
    (tmp_path / "main.conf").write_text(main)
    assert not dangers(kind, tmp_path / "main.conf", ".")
