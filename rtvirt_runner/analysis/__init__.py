"""Parsers, statistics, measurements, comparisons: every number that the page shows."""
