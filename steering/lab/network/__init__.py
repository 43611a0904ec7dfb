"""Namespaces, links and routers of the lab."""
