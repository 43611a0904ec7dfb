"""Configuration and policies: YAML in, checked values out."""
