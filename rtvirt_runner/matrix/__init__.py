"""Which cells, in which order, done or not."""
