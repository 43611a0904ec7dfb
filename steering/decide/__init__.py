"""From health to a plan: the numbered rules, pure."""
