"""One YAML document as plain values, with the line of each value.

YAML 1.1 reads `off`, `on`, `no` as booleans, `10:30` as a number in base 60 and `2026-11-24`
as a date. Operators mean text, so the scalars are those of the YAML 1.2 core schema
(yaml.org/spec/1.2.2, section 10.3.2): true, false, null, numbers; everything else is text.

The meaning of the keys and values is left to the models.
"""

from __future__ import annotations

import errno
import math
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from steering.config.problems import ConfigError, Location, Problem, path_of, shown
from steering.system.files import read_regular

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
"""A value of a document."""

LARGEST = 1 << 20
"""Bytes of the largest file that is read. Far beyond any policy, and a bound on a reload's time."""


DEEPEST = 64
"""Levels of lists and mappings. The parser goes through all open levels for each token."""


@dataclass(slots=True, kw_only=True)
class Allowance:
    """What is left of the limits for all files of one load together.

    Ten thousand overrides and as many addresses fit in. The parser needs about 0.8 kB for each
    value and frees all of them at once: 0.15 s at this limit, in which nothing else in the process
    runs.
    """

    size: int = 4 * LARGEST
    """Bytes."""
    values: int = 250_000
    """Keys, single values, lists and mappings; an alias counts as one."""


class _TooManyError(Exception):
    """More values than are allowed."""


class _CoreLoader(yaml.SafeLoader):
    """PyYAML's parser with the plain scalars of YAML 1.2, and with limits."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  (PyYAML's own declaration)

    def __init__(self, text: str, allowance: Allowance) -> None:
        super().__init__(text)
        self._allowance = allowance
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._allowance.values -= 1
        if self._allowance.values < 0:
            raise _TooManyError
        if self._depth == DEEPEST:
            raise RecursionError
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


_OWN = " of its own in this directory"
_TAG = "tag:yaml.org,2002:"
_PLAIN = {
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "null": re.compile(r"~|null|Null|NULL|"),
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"),
}
for _kind, _pattern in _PLAIN.items():
    _CoreLoader.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_pattern.pattern})\Z"), None)


class _CoreDumper(yaml.SafeDumper):
    """PyYAML's writer. It quotes text that the loader above would not read as text."""

    yaml_implicit_resolvers = _CoreLoader.yaml_implicit_resolvers


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file: its values, their lines, and what is wrong with the YAML."""

    file: Path
    root: yaml.MappingNode
    values: dict[str, Value]
    problems: tuple[Problem, ...]
    unread: frozenset[str]
    """Paths of values that could not be read. They are None in `values`."""

    def line(self, location: Location) -> int:
        """The line of a value, from 1; of the enclosing value if it is missing."""
        node: yaml.Node = self.root
        line = _line(node)
        for part in location:
            if isinstance(node, yaml.MappingNode):
                entry = next(((k, v) for k, v in node.value if k.value == part), None)
                if entry is None:
                    break
                key, node = entry
                line = _line(node if isinstance(node, yaml.ScalarNode) and node.value else key)
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                node = node.value[part]
                line = _line(node)
        return line

    def problem(self, location: Location, message: str) -> Problem:
        """A problem with the value at a location."""
        return Problem(
            file=self.file, line=self.line(location), path=path_of(location), message=message
        )


def read(file: Path, *, within: Path | None = None, allowance: Allowance | None = None) -> bytes:
    """The bytes of one file. Raises ConfigError if it can't be read.

    `within`: links are followed within this directory alone. `allowance`: the limits for this file
    and those after it; the size of this file is subtracted.
    """
    allowance = allowance or Allowance()
    try:
        raw = read_regular(file, LARGEST, within=within)
    except FileNotFoundError:
        raise _error(file, 1, "does not exist, wanted a YAML file") from None
    except (OSError, ValueError) as error:
        raise _error(file, 1, _unreadable(error)) from None
    if len(raw) > allowance.size:
        limit = f"wanted at most {Allowance().size} bytes"
        raise _error(file, 1, f"is too large together with the files before it, {limit}")
    allowance.size -= len(raw)
    return raw


def decoded(raw: bytes, file: Path) -> str:
    """The text in a file. Raises ConfigError if it is not UTF-8."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise _error(file, line, f"byte 0x{byte:02x} is not UTF-8, wanted UTF-8 text") from None


def _unreadable(error: OSError | ValueError) -> str:
    """Why a file can't be read, and what is wanted."""
    if not isinstance(error, OSError):
        return f"cannot be read ({error}), wanted a readable file"
    match error.errno:
        case errno.EFBIG:
            return str(error.strerror)
        case errno.EINVAL | errno.EXDEV:
            return f"{error.strerror}, wanted a YAML file{_OWN * (error.errno == errno.EXDEV)}"
        case _:
            return f"cannot be read ({error.strerror}), wanted a readable file"


def parse(text: str, file: Path, allowance: Allowance | None = None) -> Document:
    """Parse the text of a file. Raises ConfigError if it is not one YAML mapping."""
    try:
        root = _compose(text, allowance or Allowance())
        if isinstance(root, yaml.MappingNode):
            converted = _Values(file)
            values = converted.mapping(root, ())
            return Document(
                file=file,
                root=root,
                values=values,
                problems=tuple(converted.problems),
                unread=frozenset(converted.unread),
            )
    except yaml.YAMLError as error:
        raise _syntax_error(text, file, error) from None
    except _TooManyError:
        message = "has too many values together with the files before it, wanted at most"
        raise _error(file, 1, f"{message} {Allowance().values} values") from None
    except RecursionError:
        raise _error(file, 1, f"is nested too deeply, wanted fewer than {DEEPEST} levels") from None
    except (ValueError, OverflowError) as error:  # an escape such as "\UFFFFFFFF"
        raise _error(file, 1, f"is not YAML ({error}), wanted a mapping of keys") from None
    if root is None:
        raise _error(file, 1, "is empty, wanted a mapping of keys")
    kind = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
    raise _error(file, _line(root), f"is {kind}, wanted a mapping of keys")


def write(values: dict[str, Value]) -> str:
    """The text that `parse` reads as these values."""
    text: str = yaml.dump(
        values,
        Dumper=_CoreDumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,  # lists and mappings of single values are put on one line
        width=LARGEST,
    )
    return text


def _compose(text: str, allowance: Allowance) -> yaml.Node | None:
    loader = _CoreLoader(text, allowance)
    try:
        node: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    return node


def _syntax_error(text: str, file: Path, error: yaml.YAMLError) -> ConfigError:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        # PyYAML's types say text, but this is the code point.
        code = int(error.character)
        return _error(file, line, f"the character U+{code:04X} is not allowed in YAML")
    assert isinstance(error, yaml.MarkedYAMLError)
    mark = error.problem_mark or error.context_mark
    what = error.problem or error.context or "cannot be parsed"
    if "'\\t'" in what:
        what = "a tab where YAML wants spaces"
    elif "another document" in what:
        what = "a second document starts here, wanted one to a file"
    else:
        what = f"is not YAML: {', '.join(filter(None, (error.context, error.problem)))}"
    return _error(file, mark.line + 1 if mark else 1, what)


class _Values:
    """Converts the nodes of one file to values, and collects the problems.

    Each node is converted once, however many aliases point at it. So a file whose aliases multiply
    (a "billion laughs") costs no more than its length.
    """

    def __init__(self, file: Path) -> None:
        self.problems: list[Problem] = []
        self.unread: set[str] = set()
        self._file = file
        self._done: dict[int, Value] = {}
        self._open: set[int] = set()

    def mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Value]:
        values: dict[str, Value] = {}
        first: dict[str, int] = {}
        self._open.add(id(node))
        for key, value in node.value:
            name = key.value
            if not isinstance(key, yaml.ScalarNode) or not _encodable(name):
                self._add(key, location, "a key that is not text, wanted a word")
            elif name in first:
                message = f"is used a second time (first in line {first[name]}), wanted once"
                self._add(key, (*location, name), message)
            else:
                first[name] = _line(key)
                values[name] = self._value(value, (*location, name))
        self._open.discard(id(node))
        return values

    def _value(self, node: yaml.Node, location: Location) -> Value:
        if id(node) in self._open:
            self.unread.add(path_of(location))
            self._add(node, location, "contains itself, wanted a tree of values")
            return None
        if id(node) not in self._done:
            self._done[id(node)] = self._converted(node, location)
        return self._done[id(node)]

    def _converted(self, node: yaml.Node, location: Location) -> Value:
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self.mapping(node, location)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            self._open.add(id(node))
            items = [self._value(item, (*location, at)) for at, item in enumerate(node.value)]
            self._open.discard(id(node))
            return items
        try:
            return _scalar(node)
        except ValueError as error:
            self.unread.add(path_of(location))
            self._add(node, location, str(error))
            return None

    def _add(self, node: yaml.Node, location: Location, message: str) -> None:
        self.problems.append(
            Problem(file=self._file, line=_line(node), path=path_of(location), message=message)
        )


def _scalar(node: yaml.Node) -> Value:
    """The value of a scalar by its tag. Raises ValueError with the message if it has none."""
    if not isinstance(node, yaml.ScalarNode):  # a list or a mapping, with the tag of another kind
        message = f"the tag {shown(node.tag)} does not fit here, wanted plain values"
        raise ValueError(message)  # noqa: TRY004 - the input is wrong, not our own call
    text: str = node.value
    match node.tag.removeprefix(_TAG):
        case "str":
            if not _encodable(text):
                raise ValueError(f"{text!a} holds half a character, wanted Unicode text")
            return text
        case "null":
            return None
        case "bool" if _PLAIN["bool"].fullmatch(text):
            return bool(text.lower() == "true")
        case "int" if _PLAIN["int"].fullmatch(text) and len(text) <= 40:
            # Base 0 would refuse the leading zeros that YAML 1.2 allows.
            return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))
        case "float" if _PLAIN["float"].fullmatch(text) and math.isfinite(number := float(text)):
            return number
        case "bool" | "int" | "float" as kind:
            raise ValueError(f"{shown(text)} is no {kind}, wanted a finite number or a word")
    raise ValueError(f"the tag {shown(node.tag)} is not known here, wanted plain values")


def _encodable(text: object) -> bool:
    """False for lone surrogates, which come from escapes and cannot be printed."""
    return isinstance(text, str) and not any("\ud800" <= c <= "\udfff" for c in text)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _error(file: Path, line: int, message: str) -> ConfigError:
    return ConfigError((Problem(file=file, line=line, path="", message=message),))
