"""What several parts of the program do with the host. Imports the standard library alone."""
