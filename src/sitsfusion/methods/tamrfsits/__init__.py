"""TAMRFSITS: temporal attention multi-resolution fusion of satellite image time series (Michel and Inglada).

`method` is what the engine sees; `planning` chooses the images of each block of dates; `inference` predicts a tile.
"""
