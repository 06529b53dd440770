"""Phase Two's representation of webhooks, of what was sent to them, and of events that applications publish."""
