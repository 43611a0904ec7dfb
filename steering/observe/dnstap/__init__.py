"""Passive measurement: what upstreams answer the resolvers, counted in a process of its own."""
