"""What is kept, for how long, and what happens before the disk is full."""
