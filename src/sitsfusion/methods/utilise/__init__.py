"""U-TILISE: gaps of a whole image series filled by one network."""
