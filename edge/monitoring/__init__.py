"""Vital signs, beats, readings and predictions in; alerts and summaries out."""
