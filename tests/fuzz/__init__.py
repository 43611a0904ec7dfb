"""Hostile input for every parser that meets bytes of others: a generator, and who takes it in.

`python -m fuzz --help`, with `tests` and `tests/unit` on the path (`make fuzz` does that).
"""
