"""Sending again what a sink has had, has given up on, or never got."""
