"""One file per place where trials run."""
