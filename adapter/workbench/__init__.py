"""For people who write tables: draft, check, explain, compare and accept, on the command line and over HTTP."""
