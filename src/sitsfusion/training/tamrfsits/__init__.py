"""Training of TAMRFSITS (Michel and Inglada): `family` is the door."""
