"""A whole signed zone: transferred, verified in a child process, written as a file."""
