"""The codec's networks in torch: transforms, priors, and the slim widths."""
