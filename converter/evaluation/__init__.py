"""Scoring: what the runtime said of recordings, held against what people annotated."""
