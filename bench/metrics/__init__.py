"""One file per metric: one number measured on a trained model."""
