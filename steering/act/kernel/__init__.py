"""Steering by Linux routes and rules: what the kernel has, what it should have, the changes.

`claim` says what the agent owns. `state` reads the kernel, `actuator` changes it, `diff` computes
the changes. `rtnetlink` encodes routes and rules, `framing` netlink messages of any kind, `netlink`
sends them. `bypass` and `foreign_rules` find rules of other programs that come before ours.
`gateways`, `path_check` and `conntrack` read what the kernel knows of paths; `presence` and
`acting_agents` find other agents.
"""
