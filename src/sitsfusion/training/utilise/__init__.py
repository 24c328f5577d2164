"""U-TILISE as a family of networks that can be trained."""
