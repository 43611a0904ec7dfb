"""Text stays text, whoever wrote it."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from steering.report.page.markup import Cells, joined, tag, visible


class Read(HTMLParser):
    """What a browser would see: elements, attributes and texts."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self.tags, self.text = list[tuple[str, dict[str, str | None]]](), ""
        self.feed(written)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(), st.text(), st.text())
def test_no_text_becomes_markup_or_leaves_its_attribute(text: str, value: str, key: str) -> None:
    written = tag("p", text, tag("b", "x", title=value), data_k=key)
    read = Read(written)
    assert read.tags == [("p", {"data-k": visible(key)}), ("b", {"title": visible(value)})]
    assert read.text == visible(text) + "x"


@given(st.text())
def test_every_character_can_be_seen(text: str) -> None:
    assert visible(text).isprintable()
    if text.isprintable():
        assert visible(text) == text


def test_marks_that_turn_text_and_control_characters_are_escapes() -> None:
    assert visible("a\u202egnp.exe\x1b[31m\u200b") == "a\\u202egnp.exe\\x1b[31m\\u200b"


def test_what_is_left_out_is_not_there() -> None:
    assert tag("input", hidden=True, title=None, checked=False) == "<input hidden>"
    assert joined(("a", None, [tag("br"), "<"])) == "a<br>&lt;"


def test_cells_are_told_and_a_blank_page_has_none_of_their_texts() -> None:
    for blank in (False, True):
        cells = Cells(blank=blank)
        written = cells.cell("td", "k", "5%\u202e", "failing")
        assert cells.all == {"k": ("5%\\u202e", "failing")}
        assert ("5%" in written) is not blank
        assert ("failing" in written) is not blank
