"""Training losses: pure functions of tensors, masked, and the objectives made of them.

Images of one place are `[t c h w]`, validity `[t h w]` (True = usable); what is stored where it is False never
reaches a value or a gradient, unless a function says otherwise. A loss that has nothing to look at is None.
"""
