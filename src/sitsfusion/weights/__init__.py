"""Published and bundled sets of weights, each declared in YAML."""
