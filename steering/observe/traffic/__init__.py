"""The resolvers' own traffic: where it comes from, which path it takes, how it is answered."""
