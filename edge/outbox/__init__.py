"""What must not be lost, on disk until the far end has it."""
