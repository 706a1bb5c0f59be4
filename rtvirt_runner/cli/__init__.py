"""The command ``rtvirt``, one file for each family of its commands."""
