"""One file per generative system; the file name is the system's name."""
