"""Both stores in memory: the index (`index`, its values in `state`) and the blobs (`blobs`)."""
