"""A virtual patient and a virtual sensor, for those without hardware."""
