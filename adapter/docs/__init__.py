"""The pages of ``docs/`` that are made from the program itself, one file for each kind of page."""
