"""H.264 and HEVC below the decoder: NAL units, parameter sets, slice headers, and their editing."""
