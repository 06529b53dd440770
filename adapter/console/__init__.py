"""The pages that people look at with a browser."""
