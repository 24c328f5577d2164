"""Training of deep spatiotemporal fusion: one pair and a coarse image to a fine one."""
