"""The page: sections, blocks and figures."""
