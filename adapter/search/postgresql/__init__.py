"""Search in the database of the log: one service fills it, all of them ask."""
