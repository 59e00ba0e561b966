"""The workstation side: recordings in, a signed int8 model bundle out."""
