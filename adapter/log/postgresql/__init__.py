"""The log in PostgreSQL: one for several services, each of which appends through one connection of its own."""
