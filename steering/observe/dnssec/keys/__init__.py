"""The keys of the zones: which are trusted, how they are fetched, and what servers show."""
