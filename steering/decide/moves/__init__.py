"""Which addresses move, where to, and which of them wait."""
