"""Steering by the Linux routing table: what the kernel has, what it should have, and the change."""
