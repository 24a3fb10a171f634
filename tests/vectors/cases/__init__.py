"""What the golden vectors cover, one module per file of vectors."""
