"""What other packages would import when they first need it: loaded before anything depends on it.

dnspython imports the module of a record type with the first record of it, which is whatever an
upstream puts into an answer; the standard library its codecs and its pool of threads. A process
that has no descriptor left, or whose files were replaced by an upgrade, can't import, and the
error comes up wherever that was.
"""

from __future__ import annotations

import concurrent.futures.thread
import encodings.idna
import encodings.latin_1
import encodings.utf_8_sig
import importlib
from typing import Final

import dns.rdata

_LOADED: Final = (concurrent.futures.thread, encodings.idna, encodings.latin_1, encodings.utf_8_sig)


def load_everything() -> None:
    """Import what is imported late elsewhere. Takes some ten milliseconds and 0.5 MB."""
    for module in _LOADED:
        importlib.import_module(module.__name__)
    dns.rdata.load_all_types()  # type: ignore[no-untyped-call]
