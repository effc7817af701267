"""The demo: a scripted model that reads and decides, and the screen that shows one task's way."""
