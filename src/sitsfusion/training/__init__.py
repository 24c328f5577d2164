"""Training: Lightning modules, Hydra configuration groups, runs. Nothing else in the library imports lightning.

Importing this package alone imports neither lightning nor hydra; its modules do, and raise
`MissingExtraError` where they are not installed.
"""
