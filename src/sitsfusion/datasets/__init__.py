"""Public data sets as training and evaluation samples: `Series` of torch, read through `sitsfusion.io`."""
