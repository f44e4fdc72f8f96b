"""Networks that others start from: ResNet-20, MobileNet, the encoder of Whisper."""
