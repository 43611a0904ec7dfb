"""Tells people and programs what the agent sees and does."""
