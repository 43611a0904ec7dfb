"""The journal: a file with the inputs and decisions of every turn, for `steering replay`."""
