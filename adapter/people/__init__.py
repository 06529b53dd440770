"""People: what one of them did, told as stories, and who is known at all. Readers of the search and of the log."""
