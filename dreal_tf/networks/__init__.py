"""Networks with attention: backbones, networks of other origin, pretrained weights."""
