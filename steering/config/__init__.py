"""Configuration and policies: YAML in, checked values out.

`document` turns text into values that know their lines, `scalars`, `units`, `addresses` and
`names` say what a single value may be, `configuration` and `policy` are the two kinds of
files, `references` is what only shows between them, `load` does it all. `schema` writes the
JSON Schemas and the reference from the same declarations.
"""

from steering.config.addresses import Listen
from steering.config.configuration import (
    Act,
    Config,
    Kernel,
    Mode,
    NextHop,
    Observe,
    Probe,
    Site,
)
from steering.config.load import Fingerprint, Setup, check, fingerprint, load
from steering.config.policy import (
    Breach,
    Counted,
    Operator,
    Policy,
    Recover,
    Serial,
    Stale,
    Steer,
    Together,
)
from steering.config.problems import ConfigError, Problem

__all__ = [
    "Act",
    "Breach",
    "Config",
    "ConfigError",
    "Counted",
    "Fingerprint",
    "Kernel",
    "Listen",
    "Mode",
    "NextHop",
    "Observe",
    "Operator",
    "Policy",
    "Probe",
    "Problem",
    "Recover",
    "Serial",
    "Setup",
    "Site",
    "Stale",
    "Steer",
    "Together",
    "check",
    "fingerprint",
    "load",
]
