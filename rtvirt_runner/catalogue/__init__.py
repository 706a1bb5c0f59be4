"""What people declare, read and checked once: the lab, kernels, tunings, guests, workloads, board profiles."""
