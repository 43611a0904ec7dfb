"""Steering by BGP: routes are announced to routers. ExaBGP is the speaker, in its own process.

Pure: `settings` has the values, `render` writes the text that ExaBGP reads, `output` parses what it
prints, `session` has the state of one neighbour, `sync` decides which commands come next. `bridge`
runs inside ExaBGP; `link` is the agent's end of its socket. `prerequisites` checks what a speaker
needs on the host, `process` starts and ends one, `supervisor` keeps one running. `actuator` uses
all of these; `status` and `problems` report. Where the code avoids a fault of ExaBGP 5.0, a comment
says which.
"""
