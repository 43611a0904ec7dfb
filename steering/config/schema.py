"""Writes the JSON Schemas for editors and the reference for people from the models.

`python -m steering.config.schema DIRECTORY` writes them into a directory (docs/reference if
left out). A test compares the committed ones with what this writes.
"""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo

from steering.config.base import OrOff, Section, section_in, values_of
from steering.config.configuration import Config
from steering.config.overrides import Overrides
from steering.config.policy import Policy
from steering.config.types import Kind
from steering.config.zone_copy import ZoneCopy

Schema = dict[str, Any]
"""A JSON Schema, or a part of one."""

FILES: Mapping[str, type[Section]] = {
    "steering": Config,
    "policy": Policy,
    "zone-copy": ZoneCopy,
    "overrides": Overrides,
}

_INTRODUCTION = """\
# Configuration reference

Written by `python -m steering.config.schema` from the models in `steering/config`: change it there.
For editors: [steering.schema.json](steering.schema.json),
[policy.schema.json](policy.schema.json), [zone-copy.schema.json](zone-copy.schema.json) and
[overrides.schema.json](overrides.schema.json).

A *duration* is a number with a unit: `200ms`, `10s`, `1.5m`, `12h`, `7d`. A *share* is a
percentage with its sign (`0.3%`): `0.3` is refused. A *name* is up to 63 letters, digits,
`.`, `-`, `_`. Paths are relative to the file that they are in. YAML's booleans are `true` and
`false` alone: `off` and `on` are words."""


def rendered() -> Mapping[str, str]:
    """Name and text of every generated file."""
    schemas = {
        f"{name}.schema.json": json.dumps(schema(model), indent=2) + "\n"
        for name, model in FILES.items()
    }
    return {**schemas, "configuration.md": reference()}


def schema(model: type[Section]) -> Schema:
    """The JSON Schema (draft 2020-12) of one kind of file."""
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    for name, section in _sections(model):
        part = made if section is model else made["$defs"][section.__name__]
        defaults = _defaults(section)
        for key, declared in part["properties"].items():
            declared.pop("default", None)
            if (default := defaults.get(key)) is not None:
                declared["default"] = default
        part["title"] = name or model.__name__.lower()
    cleaned = _without_noise(made)
    assert isinstance(cleaned, dict)
    return cleaned


def _without_noise(node: Any) -> Any:  # noqa: ANN401
    """Drop titles that repeat the key, and null: a key without a value is a mistake."""
    if isinstance(node, list):
        return [_without_noise(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _without_noise(value) for key, value in node.items()}
    for declared in made.get("properties", {}).values():
        declared.pop("title", None)
    if "patternProperties" in made:
        made["additionalProperties"] = False
    some = [part for part in made.get("anyOf", []) if part != {"type": "null"}]
    if len(some) == 1:
        del made["anyOf"]
        made = {**some[0], **made}
    elif some:
        made["anyOf"] = some
    return made


def reference() -> str:
    """The reference of all files, in Markdown: a table for each section."""
    parts = [_INTRODUCTION]
    titles: Mapping[type[Section], str] = {
        Config: "The agent's configuration: `steering.yaml`",
        Policy: "Policies: `policies/*.yaml`, one upstream a file",
        ZoneCopy: "Copies of zones: `policies/*.yaml` with `zone_copy`, one zone a file",
        Overrides: "Overrides: `overrides.yaml` and `overrides.d/*.yaml` beside the policies",
    }
    for model, title in titles.items():
        parts.append(f"## {title}")
        for name, section in _sections(model):
            parts += [f"### {_heading(model, name)}"] if name else []
            parts += [(section.__doc__ or "").splitlines()[0], _table(section, name)]
    return "\n\n".join(parts) + "\n"


def _heading(model: type[Section], name: str) -> str:
    return f"`{name}` of a policy" if model is Policy else f"`{name}`"


def _table(section: type[Section], path: str) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    defaults = _defaults(section)
    for key in section.known():
        field = section.field(key)
        below = f"{path}.{key}" if path else key
        word = _word(field.annotation, field.metadata)
        default = "required" if field.is_required() else _typed(defaults.get(key))
        if isinstance(field.default, Section):
            default = f"see `{below}`"
        meaning = " ".join(filter(None, (field.description, _bounds(field))))
        rows.append(f"| `{key}` | {word} | {default} | {meaning} |")
    return "\n".join(rows)


def _sections(model: type[Section], path: str = "") -> Iterator[tuple[str, type[Section]]]:
    """A section and all below it, each with its path."""
    yield path, model
    for key in model.known():
        annotation: object = model.field(key).annotation
        below = f"{path}.{key}" if path else key
        if section := section_in(annotation):
            yield from _sections(section, below)
        elif section := section_in(values_of(annotation)):
            listed = get_origin(annotation) is tuple
            yield from _sections(section, f"{below}[]" if listed else f"{below}.NAME")


def kind_of(annotation: object, metadata: list[Any]) -> Kind | None:
    """The kind of single value in a field, if it holds one."""
    for mark in metadata:
        if isinstance(mark, Kind):
            return mark
    for argument in get_args(annotation):
        if get_origin(argument) is Annotated:
            inner, *marks = get_args(argument)
            if found := kind_of(inner, marks):
                return found
    return None


def _word(annotation: object, metadata: list[Any]) -> str:
    """The name of a value's type in the reference."""
    for mark in metadata:
        if isinstance(mark, Kind):
            return mark.word
        if isinstance(mark, OrOff):
            return "mapping or `off`"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in annotation)
    if annotation is bool:
        return "`true`, `false`"
    if section_in(annotation):
        return "mapping"
    arguments = [part for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) is Annotated:
        return _word(arguments[0], arguments[1:])
    if get_origin(annotation) is Mapping:
        return f"mapping of {_word(arguments[0], [])} to {_word(arguments[1], [])}"
    if get_origin(annotation) is tuple:
        return f"list of {_word(arguments[0], [])}"
    return _word(arguments[0], [])


def _bounds(field: FieldInfo) -> str:
    kind = kind_of(field.annotation, field.metadata)
    return "" if kind is None or kind.low is None else f"From {kind.low} to {kind.high}."


def _defaults(section: type[Section]) -> Schema:
    """The default of each key as it may be typed; none for sections and mappings."""
    typed = section.model_construct().model_dump(mode="json")
    return {key: default for key, default in typed.items() if not isinstance(default, dict)}


def _typed(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, list):
        return f"`[{', '.join(default)}]`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`"


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference")
    target.mkdir(parents=True, exist_ok=True)
    for name, text in rendered().items():
        (target / name).write_text(text)
