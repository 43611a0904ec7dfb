"""Makes the world match a plan, and takes everything back."""
