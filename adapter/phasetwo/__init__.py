"""Phase Two's extension: what of it is taken over."""
