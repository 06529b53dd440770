"""Which events a reader wants: the one set of filters of the feed, the export and the sinks.

`Filter.parse` reads them from query parameters or settings; `Filter.matches` decides for one event in memory;
`adapter.search.query` turns the same object into SQL. A test holds the two together.
"""
