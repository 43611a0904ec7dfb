"""DNSSEC: the keys of the zones, and the validation of an answer's signatures."""
