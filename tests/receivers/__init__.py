"""A hostile receiver of webhooks, and a score of the sender that was pointed at it: docs/hostile-receiver.md.

It is a program of its own (``python -m tests.receivers``) and knows nothing of any sender.
"""
