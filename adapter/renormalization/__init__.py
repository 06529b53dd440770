"""Read again: what the present tables, or changed ones, make of stored raw events."""
