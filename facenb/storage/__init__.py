"""Files of our own: the cache, tensor files, training state."""
