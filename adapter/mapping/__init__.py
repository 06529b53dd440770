"""Normalize: mapping tables, read, compiled to functions, and tested on their own examples."""
