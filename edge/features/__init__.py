"""Clean samples in; beats, vital signs and windows out."""
