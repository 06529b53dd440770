"""Search in one SQLite file, which one service fills and asks."""
