"""Nameservers, resolvers and signed zones of the lab."""
