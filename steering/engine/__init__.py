"""One turn (judge and decide), and its state over changed files and restarts. Pure."""
