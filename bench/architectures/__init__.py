"""Networks that several systems are made of, each file from one source; written in the blocks of ``nets.py``."""
