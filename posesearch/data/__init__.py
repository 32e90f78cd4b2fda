"""From COCO-format files to batches of crops: reading, checking, decoding, augmenting."""
