"""Samplers that add rows to the train rows: classic changes of images, and a class-conditional GAN."""
