"""What is asked of a machine under test, and what it answered."""
