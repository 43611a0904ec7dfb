"""What all mappings in the files have in common."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from steering.config.problems import Location, shown

T = TypeVar("T")


class FieldError(ValueError):
    """One key of the mapping being checked does not fit the others."""

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(message)


class Section(BaseModel):
    """A mapping with known keys. It does not change after it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    @classmethod
    def known(cls) -> tuple[str, ...]:
        """The keys as they are typed."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def field(cls, key: str) -> FieldInfo:
        """The declaration of a key as it is typed. Raises KeyError."""
        fields = {field.alias or name: field for name, field in cls.model_fields.items()}
        return fields[key]


def section_at(model: type[Section], location: Location) -> type[Section] | None:
    """The section that a location below `model` lies in, or None if there is none."""
    annotation: object = model
    for part in location:
        below = section_in(annotation)
        if below is not None:
            annotation = below.field(str(part)).annotation if part in below.known() else None
        else:
            annotation = values_of(annotation)
    return section_in(annotation)


def section_in(annotation: object) -> type[Section] | None:
    """The section an annotation stands for: `Probe`, `Kernel | None`, `Annotated[Site, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in {Annotated, Union, types.UnionType}:
        return next((s for arg in get_args(annotation) if (s := section_in(arg))), None)
    return None


def values_of(annotation: object) -> object:
    """What a mapping or a tuple holds; None for anything else."""
    if get_origin(annotation) in {Union, types.UnionType}:
        return next((v for arg in get_args(annotation) if (v := values_of(arg))), None)
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return values_of(arguments[0])
    if get_origin(annotation) is Mapping:
        return arguments[1]
    return arguments[0] if get_origin(annotation) is tuple else None


def distinct(items: tuple[T, ...]) -> tuple[T, ...]:
    """A validator: nothing is listed twice."""
    for item in items:
        if items.count(item) > 1:
            raise ValueError(f"{item} is listed twice, wanted each once")
    return items


def some(items: T) -> T:
    """A validator: not empty."""
    if not items:
        raise ValueError("is empty, wanted at least one")
    return items


DISTINCT, SOME = AfterValidator(distinct), AfterValidator(some)


class OrOff:
    """An annotation: a section, or the word `off`, which is None inside."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def read(value: object, info: core_schema.ValidationInfo[Any]) -> object:
            if value == "off" or value is False:
                return None
            absent = value is None and not info.context
            if not absent and not isinstance(value, dict | Section):
                raise ValueError(f"is {shown(value)}, wanted a mapping or off")
            return value

        def write(value: object, write_on: core_schema.SerializerFunctionWrapHandler) -> object:
            return "off" if value is None else write_on(value)

        return core_schema.with_info_before_validator_function(
            read,
            handler(source),
            serialization=core_schema.wrap_serializer_function_ser_schema(write, when_used="json"),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        off = {"enum": ["off", False]}
        on = [part for part in handler(schema).get("anyOf", []) if part.get("type") != "null"]
        return {"anyOf": [*on, off]}
