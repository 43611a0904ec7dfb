"""What resolvers serve of a zone of which they hold a copy, seen from outside."""
