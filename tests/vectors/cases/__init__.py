"""The cases of the golden vectors, one module per file."""
