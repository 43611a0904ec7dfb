"""DNSSEC: what the signatures of an answer amount to. `keys` has the trusted keys of the zones."""
