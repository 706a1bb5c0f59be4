"""The command ``rtvirt``, one module per family of commands."""
