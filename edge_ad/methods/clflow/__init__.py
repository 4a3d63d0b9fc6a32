"""CL-Flow: contrastive normalising flow on frozen features."""
