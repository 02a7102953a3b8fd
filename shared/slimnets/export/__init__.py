"""Networks to ONNX graphs and counted tables: the only room that writes them."""
