"""HTML in which every text is text: markup is made by `tag` alone.

What DNS data, files and other hosts say may hold anything. Control characters and marks that turn
the direction of text are shown as escapes, the rest is escaped for HTML.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final

_VOID: Final = frozenset(("meta", "link", "input", "br"))


class Markup(str):
    """Finished HTML."""

    __slots__ = ()


Child = str | Iterable[str] | None


def visible(text: str) -> str:
    """Text of which every character can be seen: others are escapes, as in a Python string."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def tag(element: str, /, *children: Child, **attributes: str | bool | None) -> Markup:
    """An element. A child that is no `Markup` is text; None and False leave an attribute out.

    An underscore at the end of an attribute's name is dropped, others are hyphens.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if element in _VOID:
        return Markup(f"<{element}{written}>")
    return Markup(f"<{element}{written}>{joined(children)}</{element}>")


def joined(children: Iterable[Child]) -> Markup:
    """Children one after the other."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(html.escape(visible(child)))
        elif child is not None:
            parts.append(joined(child))
    return Markup("".join(parts))


def _attribute(key: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(visible(value))}"'


class Cells:
    """The texts of a page that change while its structure stays: by key, with their state.

    A page in a browser is told those that changed. Where its structure is another, it is loaded
    anew: `blank` leaves the texts of the cells out of the page, so that a hash of it tells.
    """

    def __init__(self, *, blank: bool = False) -> None:
        self.all: dict[str, tuple[str, str]] = {}
        self._blank = blank

    def cell(
        self, name: str, key: str, text: str, state: str = "", **more: str | bool | None
    ) -> Markup:
        """An element whose text and state are told."""
        self.all[key] = visible(text), state
        if self._blank:
            return tag(name, data_k=key, **more)
        return tag(name, text, data_k=key, data_s=state or None, **more)
