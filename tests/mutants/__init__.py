"""Small faults put into the code on purpose, to see which of them the unit tests would not notice.

`python -m mutants --help`, with `tests` on the path (`make mutants` does that).
"""
