"""Keys that are made while the service runs."""
