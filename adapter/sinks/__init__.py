"""Send: one file for each kind of sink."""
