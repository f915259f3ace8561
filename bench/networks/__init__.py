"""What models are built of: blocks, loss terms, adversarial rounds, and the networks that several systems share."""
