"""The evaluation bench: hide dates of a place, let methods predict them, score the predictions, make tables.

`sites` (where images and truth come from), `cases` (a site and a strategy: what is given, what is asked), `scoring`
(what is compared with what; the metrics are `sitsfusion.metrics`), `runner` (cases x methods, resumable), `suite`
(declared benchmarks in YAML), `api` (all of it in one call). What comes out: `tables`, `paper` (the published form),
`published` (published tables read back), `figures` and `maps`, `report` (one page), `images` and `animation`. `cost`
measures seconds and memory. Methods run through the engine (`sitsfusion.fuse`).
"""
