"""What each source has done lately, and what it does not do any more: silence, refused proofs, gaps."""
