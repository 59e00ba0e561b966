"""Virtual counterparts of serial devices that others make: what each sends, and how it answers."""
