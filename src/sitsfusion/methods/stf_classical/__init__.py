"""Classical fusion of coarse and fine images: STARFM, ESTARFM, FSDAF, Fit-FC, SPSTFM, EFAST.

`pairs` chooses reference images for the whole scene, `base` holds what the methods share, `windows` the loops over
moving windows, `blocks` the coarse lattice. The mathematics of each method are plain functions of tensors in which NaN
means "not usable".
"""
