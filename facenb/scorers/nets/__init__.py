"""The nets behind the scores, one module for each architecture or family."""
