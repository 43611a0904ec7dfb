"""Configuration and policies: YAML in, checked values out.

`yaml_file` turns text into values that know their lines. `types` and `address_types` define what
a single value may be. `configuration`, `policy` and `overrides` are the kinds of files. `validate`
checks one file against its model. `cross_checks` and `override_files` check what only shows
between files. `load` does all of it. `schema` writes the JSON Schemas and the reference from the
same declarations.
"""

from steering.config.address_types import Listen
from steering.config.bgp import Bgp, Neighbor
from steering.config.configuration import (
    Act,
    Budget,
    Config,
    Journal,
    Kernel,
    Mode,
    Observe,
    Pin,
    Probe,
)
from steering.config.load import Fingerprint, Setup, fingerprint, load
from steering.config.overrides import Overrides
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
from steering.config.resolvers import Flush
from steering.config.site import NextHop, Return, Site
from steering.config.validate import check
from steering.config.zone_copy import CopyOf, ZoneCopy

__all__ = [
    "Act",
    "Bgp",
    "Breach",
    "Budget",
    "Config",
    "ConfigError",
    "CopyOf",
    "Counted",
    "Fingerprint",
    "Flush",
    "Journal",
    "Kernel",
    "Listen",
    "Mode",
    "Neighbor",
    "NextHop",
    "Observe",
    "Operator",
    "Overrides",
    "Pin",
    "Policy",
    "Probe",
    "Problem",
    "Recover",
    "Return",
    "Serial",
    "Setup",
    "Site",
    "Stale",
    "Steer",
    "Together",
    "ZoneCopy",
    "check",
    "fingerprint",
    "load",
]
