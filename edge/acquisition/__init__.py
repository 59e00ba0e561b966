"""A sensor's bytes in; samples, readings, gaps and link states out."""
