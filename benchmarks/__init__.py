"""Speed and memory, measured. `python -m benchmarks` runs all, or those named."""
