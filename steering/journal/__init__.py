"""The journal: every turn written down, so that it can be run again."""
