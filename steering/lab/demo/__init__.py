"""What `steering demo` shows."""
