"""Routers told by BGP. ExaBGP is the speaker, in a process of its own.

`settings` are the values; `render` writes what ExaBGP reads and `output` parses what it prints.
`session` is what is known of one neighbour, `sync` decides which commands come next; all these are
pure. `bridge` runs inside ExaBGP and `link` has the other end of its socket. `prerequisites` finds
what a speaker needs of the host, `process` starts and ends one, `supervisor` keeps one running.
`actuator` stands over all this; `status` and `problems` are what is shown of it. The pitfalls of
ExaBGP 5.0 are avoided in these files, each with its reason.
"""
