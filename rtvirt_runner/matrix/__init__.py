"""The matrix: its cells, their order, and their records."""
