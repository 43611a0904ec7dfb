"""Alarms, reasons and explanations in words."""
