"""One module per family of golden files; each registers its adapters on import."""
