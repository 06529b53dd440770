"""Headers of events that are written in a format: what a page has beside them in its body."""

#: The hints, as JSON; the cursor of the next page, if there is one; and `adapter.api.feed.EventPage.removed`.
HINTS, NEXT, REMOVED = "X-Hints", "X-Next", "X-Removed"

#: Of an export, its snapshot: by which it is gone on with, or made again.
CURSOR = "X-Cursor"
