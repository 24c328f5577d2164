"""Cross-sensor super-resolution: images four times finer than Sentinel-2's, at a chosen day."""
