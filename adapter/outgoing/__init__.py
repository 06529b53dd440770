"""Requests that the service makes itself: where they may go and by which way, and how much of an answer is read."""
