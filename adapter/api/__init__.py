"""Read and run: the HTTP interface of the feed and of operation."""
