"""The running agent: drives observe, judge, decide and act, and owns their sockets and files."""
