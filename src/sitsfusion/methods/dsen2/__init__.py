"""DSen2 behind the method protocol."""
