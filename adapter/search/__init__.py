"""Find: the reader that fills the search columns, and the questions asked of them."""

from adapter.search.cursor import Order
from adapter.search.search import Page, Search, open_search

__all__ = ["Order", "Page", "Search", "open_search"]
