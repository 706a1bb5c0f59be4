"""The Python half of rtvirt: which cells, in which order, done or not, and every number.

Playbooks and roles own how a machine gets into a state and how one cell is run. The contract between the two is small:
a cell (a flat dict) goes in, a result folder comes out.
"""
