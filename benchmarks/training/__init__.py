"""What training does: choices compared, and how near a step comes to what the hardware can do."""
