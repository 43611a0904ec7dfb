"""From answers to health: the detector, pure."""
