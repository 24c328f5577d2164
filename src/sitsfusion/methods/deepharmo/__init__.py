"""Deep-Harmonization behind the method protocol."""
