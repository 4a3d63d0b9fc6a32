"""What this computer has: processor, OpenCV, cameras, engines and GPU, and what is missing."""
