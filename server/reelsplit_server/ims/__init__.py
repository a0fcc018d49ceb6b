"""The HTTP face in the dialect of Intelligent Media Services: signatures, requests, answers."""
