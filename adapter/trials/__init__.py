"""Try: work on tables and texts that a caller brought, in a process of its own that can be killed."""
