"""The resolvers of this site: what the agent has them do about a zone's copy, and forget."""
