"""Training of the embedded style-based generator; `python -m facenb.train_stylegan2` runs it."""
