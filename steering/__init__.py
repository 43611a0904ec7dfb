"""Keeps DNS resolution working when an upstream nameserver, seen from here, goes bad."""

__version__ = "0.1.0"
