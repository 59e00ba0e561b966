"""What a person at the bed sees."""
