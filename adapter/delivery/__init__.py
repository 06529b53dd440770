"""The loop that reads the log for a sink: window, retry, hold, breaker, settle."""
