"""DSTFN behind the method protocol."""
