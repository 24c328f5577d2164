"""The engine: plan, run, resume, finalise. One list of tile tasks, any back-end.

`job` decides everything before a pixel is written, `run` maps `run_tile` over the tasks, `store` writes whole tiles
and then their markers, `finalise` joins them. Methods know nothing of all this (see `methods.base`).
"""
