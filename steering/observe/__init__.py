"""Asks the upstreams over every path and classifies what comes back."""
