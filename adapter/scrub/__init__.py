"""Scrub: take a secret out of what is stored. The one exception to 'entries never change'."""
