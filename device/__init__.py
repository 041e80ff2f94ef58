"""The runtime in the car: video in; faces, gaze, attention, alerts and a drive out.

`source -> faces -> gaze -> attention -> events -> outputs`: each arrow is one frozen record of `records`, each
stage one class with one method, built in one place (`watch`). Imports numpy, OpenCV, ONNX Runtime and little more.
"""
