"""One turn: judge and decide; and what goes over to another configuration or process. Pure."""
