"""What is known, as values by name, and how one turn writes to it."""
