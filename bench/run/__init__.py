"""From a study to its tracked runs: the one room where rooms meet."""
