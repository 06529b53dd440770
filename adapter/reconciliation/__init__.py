"""What a Keycloak has stored is held against the log: on demand and, in signed statements, every hour."""
