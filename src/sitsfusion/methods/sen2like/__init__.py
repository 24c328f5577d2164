"""Sen2Like: Landsat images made sharp with the detail of earlier Sentinel-2 images."""
