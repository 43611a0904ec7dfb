"""Copy on write: a value of arrays is never changed, and its next version copies what it changes.

The next version begins as a shallow copy that shares every array. Shared arrays are read-only
from then on, so a ledger is not changed by mistake. `own` copies an array when it is first written
to. Arrays that a turn does not touch cost nothing, whatever their size.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


def fork(value: T) -> T:
    """Another value of the same slotted dataclass, sharing everything; for `own` and `put`."""
    made = object.__new__(type(value))
    for name in type(value).__slots__:  # type: ignore[attr-defined]
        field = getattr(value, name)
        if isinstance(field, np.ndarray) and (flags := field.flags).writeable:
            flags.writeable = False
        object.__setattr__(made, name, field)
    return made


def own(fork: object, name: str) -> NDArray[Any]:
    """The array under this name, to write to. Only of a value that `fork` has made."""
    array: NDArray[Any] = getattr(fork, name)
    if not array.flags.writeable:
        array = array.copy()
        object.__setattr__(fork, name, array)
    return array


def write(fork: object, name: str, where: Any, values: NDArray[Any]) -> None:  # noqa: ANN401
    """Set some of an array's elements; it is copied only if that changes any of them.

    Args:
        fork: a value that `fork` has made.
        name: of the array.
        where: an index of it.
        values: of the shape that the index selects.
    """
    if (getattr(fork, name)[where] != values).any():
        own(fork, name)[where] = values


def put(fork: object, name: str, value: object) -> None:
    """Set one field of a value that `fork` has made."""
    object.__setattr__(fork, name, value)
