"""A small internet in network namespaces, for the demo and the lab tests."""
