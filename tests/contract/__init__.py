"""Our verdicts beside those of four validators, on answers made to be odd (`make contract`)."""
