"""Say it their way: one file for each format an event can be written in, found by its name."""
