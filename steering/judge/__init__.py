"""From answers to the health of each address over each path. Pure."""
