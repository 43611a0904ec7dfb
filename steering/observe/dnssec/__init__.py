"""DNSSEC: the keys of the zones, and what an answer's signatures amount to."""
