"""Pull: a Keycloak's stored events are read by its Admin REST API, beside push or in its place."""
