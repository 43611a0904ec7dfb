"""Probes: which questions are asked, when and over which path, and what came back."""
