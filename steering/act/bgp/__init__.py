"""Routers told by BGP. ExaBGP is the speaker, in a process of its own.

`terms` are the values; `text` renders what ExaBGP reads and `hear` reads what it says. `session`
is what is known of one neighbour, `sync` decides what to say next; all these are pure. `bridge`
runs inside ExaBGP and `conversation` has the other end of its socket. `household` is what the host
has for a speaker, `process` starts and ends one, `life` sees to it that one lives. `speaker` is the
actuator over all this; `speaking` and `complaints` are what there is to tell of it. Behind it stand
the pitfalls of ExaBGP 5.0, each with its reason where it is avoided.
"""
