"""What is learnt: networks, training, scoring."""
