"""Replay: every turn written down, and run again: as it was, by other policies, by a story."""
