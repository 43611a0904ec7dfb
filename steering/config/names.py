"""Domain names as text, without a DNS library: these modules load before anything else."""

from __future__ import annotations

import re

from steering.config.problems import shown

# Anything may be in a label (RFC 2181, section 11), but what would need escaping in a zone
# file is here a slip of the keyboard. RFC 2317 zones have a slash.
_LABEL = re.compile(r"[A-Za-z0-9_/+*-]+")


def canonical_name(text: str) -> str:
    """The name in lower case with a final dot.

    Raises ValueError where labels are empty, longer than 63 octets, or the whole is longer
    than 255 octets on the wire (RFC 1035, section 2.3.4).
    """
    if text == ".":
        return text
    labels = text.removesuffix(".").split(".")
    for label in labels:
        if not label:
            raise ValueError(f"{shown(text)} is no domain name (an empty label), wanted com.")
        if not label.isascii():
            raise ValueError(f"{shown(text)} is no domain name, wanted its A-labels (xn--...)")
        if not _LABEL.fullmatch(label):
            raise ValueError(f"{shown(text)} is no domain name ({shown(label)}), wanted com.")
        if len(label) > 63:
            raise ValueError(f"a label of {len(label)} octets in {shown(text)}, wanted at most 63")
    if (octets := sum(len(label) + 1 for label in labels) + 1) > 255:
        raise ValueError(f"{shown(text)} has {octets} octets on the wire, wanted at most 255")
    return ".".join(labels).lower() + "."
