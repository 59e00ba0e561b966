"""VitalEdge, the on-device runtime: sensor bytes in, alerts and summaries out.

Research and engineering software.  Not a medical device.
"""
