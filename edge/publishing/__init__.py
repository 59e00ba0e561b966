"""Durable records in; MQTT messages out, and commands back."""
