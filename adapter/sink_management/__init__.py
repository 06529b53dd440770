"""Sinks that are made while the service runs: kept in the log, with their secrets sealed, for every service over it."""
