"""Where examples come from; every reader gives `converter.examples.Examples`.

==================  ======================================================================================
`recordings`        annotated recordings through the runtime's own stages: WFDB, EDF and CSV, one window at a time
`tables`            one row an example: a CSV file of numbers with a label
`images`            one folder a class, pictures in it
`alerts`            what clinicians say of alerts that were raised
`store`             the work on many records at once, and what is kept of it
==================  ======================================================================================
"""
