"""Shared mathematics on tensors: point spread functions, resampling, gap filling, padding, operations on series.

Everything here is a pure function of torch tensors (or of a `Series`), on any device, differentiable where the
formula is. Nothing here knows files, sensors or tiles of a job.
"""
