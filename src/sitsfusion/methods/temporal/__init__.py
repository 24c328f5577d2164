"""Gap filling and smoothing in time, one sensor at a time: a curve through the clear observations of each pixel.

Each file holds one curve: a pure function on tensors, and the method around it. `base` holds what they share.
"""
