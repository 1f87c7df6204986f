"""What looks at a knee film: layers, networks and their weights. Importing it registers ConvWGCNet with timm."""

from koalib.model import convwgcnet as convwgcnet
