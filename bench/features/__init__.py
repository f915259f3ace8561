"""One file per feature extractor: images to the vectors that distributions are compared in."""
