"""Networks of spatiotemporal fusion: a fine image at a new date from one coarse/fine pair and a coarse image.

All of them are called alike, on images of one size `[n b h w]` on the fine grid:

    network(coarse_ref, fine_ref, coarse) -> fine image of the date of `coarse`

Attributes bear the published names, so that published state dicts fit without a table of names (a few of them are
spelt unlike Python's usual style for that reason). The facts follow the code of the survey "Deep Learning
Spatiotemporal Fusion" (arXiv 2504.00901) and, where noted, the models' own papers.
"""
