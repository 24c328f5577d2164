"""Deep spatiotemporal fusion: trained networks on one coarse/fine pair and a coarse image."""
