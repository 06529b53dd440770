"""IdP Event Adapter: identity-provider events in, one durable log of unified events, many readers out."""

__version__ = "0.1.0"
