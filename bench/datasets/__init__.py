"""One file per data set; the file name is the set's name."""
