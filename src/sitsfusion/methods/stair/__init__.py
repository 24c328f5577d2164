"""STAIR: the coarse image of a day plus the interpolated difference of fine and coarse images, in two modes."""
