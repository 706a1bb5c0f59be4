"""Artifacts, downloads and kernels: fetched, verified, built, and kept in the cache."""
