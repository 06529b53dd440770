"""What two sinks got, or a sink and a sender that was there before it, held against each other."""
