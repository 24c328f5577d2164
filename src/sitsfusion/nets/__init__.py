"""The networks: tensors in, tensors out, one family per file, shared blocks in small files.

Nothing here reads a file, knows a sensor or cuts tiles. Constructors take primitives only.
"""
