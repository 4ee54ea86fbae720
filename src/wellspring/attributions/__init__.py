"""Which neurons a text's embedding is attributed to: integrated gradients of linear sub-layers."""
