"""Find: a reader of the log that fills columns people filter by, and the questions asked of them."""
