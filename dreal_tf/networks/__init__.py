"""Networks with attention: backbones, attached networks, pretrained weights."""
