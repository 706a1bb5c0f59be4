"""The declared input, validated once when it is read: lab, kernels, tunings, guests, workloads, board profiles."""
