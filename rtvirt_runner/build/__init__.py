"""What is fetched, verified, built and kept in the cache: artifacts, downloads, kernels."""
