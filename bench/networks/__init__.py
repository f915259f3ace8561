"""What models are built of: blocks, loss terms, adversarial steps, and the networks that several systems share."""
