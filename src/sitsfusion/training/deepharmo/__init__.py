"""Training of Deep-Harmonization on patch pairs, or on simulated places."""
