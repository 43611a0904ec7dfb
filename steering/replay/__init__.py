"""Runs a journal again, with its own or other policies; and runs scenarios."""
