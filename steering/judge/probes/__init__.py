"""What probes show: their counts, and the detectors on them."""
