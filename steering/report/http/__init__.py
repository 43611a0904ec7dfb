"""HTTP: a process of its own meets the strangers; the agent gives it sockets and answers."""
