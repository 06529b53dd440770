"""Normalize: a mapping table is read, judged, and compiled to one function; bodies become records for it."""
