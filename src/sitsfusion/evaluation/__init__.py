"""The evaluation bench: hide dates of a place, let methods predict them, score the predictions, make tables.

`sites` (where images and truth come from), `cases` (a site and a strategy: what is given, what is asked), `scoring`
(one predicted image against one observed or true image), `runner` (cases x methods, resumable), `tables`, `figures`,
`suite` (declared benchmarks in YAML). Methods run through the engine (`sitsfusion.fuse`).
"""
