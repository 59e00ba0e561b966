"""Samples in device time in; clean samples in host time, gaps and quality out."""
