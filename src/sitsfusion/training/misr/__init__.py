"""Training of cross-sensor super-resolution: backbones, then SRDiff on a frozen backbone."""
