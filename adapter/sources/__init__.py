"""Receive: native events arrive here, are authenticated, split, normalized and appended to the log."""
