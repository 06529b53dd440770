"""Keep: the append-only log, the one truth that every reader reads."""
