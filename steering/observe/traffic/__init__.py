"""The resolvers' traffic: its sources, its paths, and the answers to it."""
