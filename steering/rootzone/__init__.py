"""A good copy of the root zone: fetched, kept, and given to the resolvers of this host."""
