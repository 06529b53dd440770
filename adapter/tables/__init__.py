"""The tables in use: read, proved, and put in the place of those before while the service runs."""
