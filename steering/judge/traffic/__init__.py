"""What the resolvers' traffic shows: its counts, and what follows from them."""
