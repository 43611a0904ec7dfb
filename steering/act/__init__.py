"""Carries out the plan: kernel routes, BGP, lease, guard and off switch."""
