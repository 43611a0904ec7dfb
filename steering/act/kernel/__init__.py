"""Steering by Linux routes and rules: what the kernel has, what it should have, the changes.

`claim` says what the agent owns. `state` reads the kernel, `actuator` changes it, `diff` computes
the changes, `removal` removes all. `rtnetlink` encodes routes and rules, `framing` netlink messages
of any kind, `netlink` sends them. `messages` and `decoding` read the host by pyroute2. `rules` says
which packets a rule catches, `bypass` finds rules of other programs that come before ours.
`gateways`, `path_check` and `conntrack` read what the kernel knows of paths; `presence` and
`acting_agents` find other agents.
"""
