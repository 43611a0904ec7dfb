"""Measures the upstreams: sends probes over every path, reads the resolvers' traffic by dnstap, and
classifies the answers.
"""
