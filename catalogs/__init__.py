"""What readers are promised: schemas, and what reads and writes them."""
