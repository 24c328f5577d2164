"""Metrics: plain functions of torch tensors that return sums and counts, so that tiles and dates add up.

Images are `[... c h w]`, validity is bool `[... h w]` (True = usable) or None (all usable). What is stored where it is
False never reaches a value, NaN included. A prediction that is NaN where it should be valid is left out of the pixel
metrics, band by band: their `count` tells how many samples were used. A target that is NaN where it is declared valid
makes the value NaN. No function assumes a data range.

    sums        RMSE, NRMSE, MAE, bias, PSNR, R2, CC, UQI of whole images, ERGAS, RASE: all from one `BandSums`
    spectral    spectral angle (SAM), NDVI error
    structure   SSIM, UQI and spatial correlation (SCC) over local windows, MAE up to a shift
    frequency   frequency restoration ratio (FRR) and spectrum profiles
    brisque     BRISQUE, a quality index without reference
    temporal    days to the closest input, densities, share of clear pixels
    scoring     all of these for one sensor and its dates, as the TAMRFSITS test tool computes them
    stf_survey  the metrics of the spatio-temporal fusion survey, as its code computes them
"""
