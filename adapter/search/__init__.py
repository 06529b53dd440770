"""Find: the reader that fills the search columns, and the questions asked of them."""
