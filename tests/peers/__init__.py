"""Our verdicts beside those that other resolvers' own suites of tests want (`make peers`)."""
