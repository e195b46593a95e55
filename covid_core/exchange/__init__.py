"""What leaves a workspace, and what comes in from others."""
