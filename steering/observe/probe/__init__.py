"""Probes: what is asked, when, over which path, and what came back."""
