"""Scripts for a machine under test, and its answers: state, settings read back, sealed machines."""
