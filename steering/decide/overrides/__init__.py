"""What operators' overrides order, and which alarms they have seen."""
