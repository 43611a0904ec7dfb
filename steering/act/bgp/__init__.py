"""Routers told by BGP. ExaBGP is the speaker, in a process of its own.

`terms` are the values; `text` renders what ExaBGP reads and `hear` reads what it says, both
pure; `sync` decides what to say next, pure; `bridge` runs inside ExaBGP; `process` starts and
ends it; `speaker` holds the socket between. Behind all of it stand the pitfalls of ExaBGP 5.0,
each with its reason where it is avoided.
"""
