"""Training of DSTFN on simulated places."""
