"""The messages of the Open Inference Protocol, over REST and over gRPC, and the tensors in them."""
