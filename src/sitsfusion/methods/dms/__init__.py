"""DMS, the data mining sharpener: thermal images at the pixel of reflectances, by regression trees.

Gao, Kustas, Anderson, "A data mining approach for sharpening thermal satellite imagery over land", Remote Sensing 4,
2012; steps and numbers of the pyDMS program as TAMRFSITS uses it. Needs scikit-learn (`sitsfusion[classical]`).
"""
