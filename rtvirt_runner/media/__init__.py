"""Cards and block devices, and the files that a board's firmware takes from them."""
