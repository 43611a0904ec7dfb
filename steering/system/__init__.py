"""What several parts of the program do with the host it runs on, by the standard library alone."""
