"""The upstreams' answers to the resolvers, read by dnstap and counted in a separate process."""
