"""Training of DSen2 by degradation of images that exist at their native resolutions."""
